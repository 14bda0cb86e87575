"""Rows of a batch in the order of the models that take them, and the way back."""

from typing import Any

import torch
from torch import Tensor

from hubfast.ops.backends import takes_triton
from hubfast.ops.registration import register
from hubfast.ops.routing import reference
from hubfast.ops.routing.reference import Routes

LONGEST = 2**26 - 2**10  # numbers of a row that blocks of 1,024 cover: a grid has 65,535 in y


def dispatch(
    batch: Tensor,
    routes: Routes,
    start: int = 0,
    stop: int | None = None,
    *,
    dtype: torch.dtype | None = None,
    backend: str | None = None,
) -> Tensor:
    """Rows start..stop of a batch in the order of the models that take them.

    Gathers, casts and, for images, turns to channels last, in one pass.

    Args:
        batch: `(B, ...)`, any float dtype; differentiable.
        routes: Where each sample of the batch goes.
        start: First row, counted as in `routes.offsets`.
        stop: Row after the last one; None for all rows.
        dtype: Dtype of the result; None keeps the batch's.
        backend: `"triton"` (CUDA, not float64), `"torch"`, or None.

    Returns:
        `(stop - start, ...)`.

    Raises:
        TypeError: A batch or `dtype` that is not of floats, or routes that are not int64.
        ValueError: The batch has another number of samples than `routes`, these do not fit each
            other, or rows are asked for that do not exist.
    """
    n_samples = len(routes.position)
    if not batch.ndim or len(batch) != n_samples:
        raise ValueError(
            f"batch must hold {n_samples} samples as routed, got shape {tuple(batch.shape)}"
        )
    _check_index("routes.order", routes.order, (routes.position.numel(),))
    _check_index("routes.position", routes.position, (n_samples, None))
    _check_float("batch", batch.dtype)
    _check_float("dtype", dtype or batch.dtype)
    stop = len(routes.order) if stop is None else stop
    if not 0 <= start <= stop <= len(routes.order):
        raise ValueError(f"rows must be within 0..{len(routes.order)}, got {start}..{stop}")
    wanted = batch.dtype if dtype is None else dtype
    return _dispatch_op(batch, routes.order, routes.position, start, stop, wanted, backend)


def _check_index(name: str, x: Tensor, shape: tuple[int | None, ...]) -> None:
    if x.dtype != torch.int64:
        raise TypeError(f"{name} must be int64, got {x.dtype}")
    sizes = zip(shape, x.shape, strict=False)
    if x.ndim != len(shape) or any(want not in (None, got) for want, got in sizes):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must have shape ({wanted}), got {tuple(x.shape)}")


def _check_float(name: str, dtype: torch.dtype) -> None:
    if not dtype.is_floating_point:
        raise TypeError(f"{name} must be of a float dtype, got {dtype}")


def _fake_dispatch(
    batch: Tensor,
    order: Tensor,
    position: Tensor,
    start: int,
    stop: int,
    dtype: torch.dtype,
    backend: str | None,
) -> Tensor:
    return reference.room(batch, stop - start, dtype)


def _fake_dispatch_backward(
    d_rows: Tensor, position: Tensor, start: int, dtype: torch.dtype, backend: str | None
) -> Tensor:
    return reference.room(d_rows, len(position), dtype)


def _fits(batch: Tensor) -> bool:
    return batch.shape[1:].numel() <= LONGEST


@register("dispatch_backward", fake=_fake_dispatch_backward)
def _dispatch_backward_op(
    d_rows: Tensor, position: Tensor, start: int, dtype: torch.dtype, backend: str | None
) -> Tensor:
    if takes_triton(backend, d_rows, _fits(d_rows)):
        from hubfast.kernels.dispatch import dispatch_backward as kernel

        return kernel(d_rows, position, start, dtype)
    return reference.dispatch_backward(d_rows, position, start, dtype)


def _setup_dispatch(ctx: Any, inputs: tuple, output: Tensor) -> None:
    batch, _, position, ctx.start, _, _, ctx.backend = inputs
    ctx.save_for_backward(position)
    ctx.dtype = batch.dtype


def _grad_dispatch(ctx: Any, d_rows: Tensor) -> tuple:
    (position,) = ctx.saved_tensors
    d_batch = _dispatch_backward_op(d_rows, position, ctx.start, ctx.dtype, ctx.backend)
    return d_batch, None, None, None, None, None, None


@register("dispatch", fake=_fake_dispatch, setup=_setup_dispatch, backward=_grad_dispatch)
def _dispatch_op(
    batch: Tensor,
    order: Tensor,
    position: Tensor,
    start: int,
    stop: int,
    dtype: torch.dtype,
    backend: str | None,
) -> Tensor:
    k = position.shape[1]
    if takes_triton(backend, batch, _fits(batch)):
        from hubfast.kernels.dispatch import dispatch as kernel  # triton is slow to import

        return kernel(batch, order, k, start, stop, dtype)
    return reference.dispatch(batch, order, k, start, stop, dtype)


def combine(rows: Tensor, gates: Tensor, position: Tensor, *, backend: str | None = None) -> Tensor:
    """The gate-weighted sum of what k models say of each sample.

    `out[b] = sum_j gates[b, j] rows[position[b, j]]`.

    Args:
        rows: `(B k, E)`, in the order of models; any float dtype, summed in float32 or better.
        gates: `(B, k)`; differentiable, as are the rows.
        position: Row of each (sample, choice), `(B, k)` int64: a permutation of the rows.
        backend: `"triton"` (CUDA, not float64), `"torch"`, or None.

    Returns:
        `(B, E)` in the dtype of the rows.

    Raises:
        TypeError: Rows or gates that are not of a float dtype, or positions that are not int64.
        ValueError: Shapes that do not fit each other.
    """
    if gates.shape != position.shape or gates.ndim != 2:
        shapes = f"{tuple(gates.shape)} and {tuple(position.shape)}"
        raise ValueError(f"gates and position must both be (batch, k), got {shapes}")
    _check_index("position", position, (None, None))
    _check_float("rows", rows.dtype)
    _check_float("gates", gates.dtype)
    if rows.ndim != 2 or len(rows) != gates.numel():
        raise ValueError(f"rows must be ({gates.numel()}, width), got {tuple(rows.shape)}")
    return _combine_op(rows, gates, position, backend)


def _fake_combine(rows: Tensor, gates: Tensor, position: Tensor, backend: str | None) -> Tensor:
    return rows.new_empty(len(gates), rows.shape[1])


def _fake_combine_backward(
    d_out: Tensor, rows: Tensor, gates: Tensor, position: Tensor, backend: str | None
) -> tuple[Tensor, Tensor]:
    return rows.new_empty(rows.shape), gates.new_empty(gates.shape)


@register("combine_backward", fake=_fake_combine_backward)
def _combine_backward_op(
    d_out: Tensor, rows: Tensor, gates: Tensor, position: Tensor, backend: str | None
) -> tuple[Tensor, Tensor]:
    if takes_triton(backend, rows):
        from hubfast.kernels.dispatch import combine_backward as kernel

        return kernel(d_out, rows, gates, position)
    return reference.combine_backward(d_out, rows, gates, position)


def _setup_combine(ctx: Any, inputs: tuple, output: Tensor) -> None:
    rows, gates, position, ctx.backend = inputs
    ctx.save_for_backward(rows, gates, position)


def _grad_combine(ctx: Any, d_out: Tensor) -> tuple:
    d_rows, d_gates = _combine_backward_op(d_out.contiguous(), *ctx.saved_tensors, ctx.backend)
    return d_rows, d_gates, None, None


@register("combine", fake=_fake_combine, setup=_setup_combine, backward=_grad_combine)
def _combine_op(rows: Tensor, gates: Tensor, position: Tensor, backend: str | None) -> Tensor:
    if takes_triton(backend, rows):
        from hubfast.kernels.dispatch import combine as kernel

        return kernel(rows, gates, position)
    return reference.combine(rows, gates, position)
