"""The gate-weighted sum of a hub's weights for each sample, and the alignment of their channels."""

from typing import Any

import torch
from torch import Tensor

from hubfast.ops.backends import takes_triton
from hubfast.ops.registration import register
from hubfast.ops.zoo_conv import reference
from hubfast.ops.zoo_conv.geometry import (
    empty_in_order,
    in_order,
    memory_order,
    out_of_order,
)

align = reference.align


def aggregate(
    weights: Tensor,
    gates: Tensor,
    *,
    dtype: torch.dtype | None = None,
    backend: str | None = None,
) -> Tensor:
    """Gate-weighted sum of a hub's weights for each sample: `out_b = sum_m gates_bm weights_m`.

    Shu et al., "Zoo-Tuning", ICML 2021. Reads the weights once for many samples.

    Args:
        weights: `(M, ...)`, any float dtype.
        gates: `(B, M)`.
        dtype: Dtype of the result; None for that of the weights. Sums are in the wider of the
            arguments' dtypes.
        backend: `"triton"` (CUDA), `"torch"`, or None for the best there is.

    Returns:
        `(B, ...)`, in the memory order of the weights.

    Raises:
        ValueError: Shapes that do not fit each other.
    """
    if gates.ndim != 2 or weights.ndim < 2 or gates.shape[1] != weights.shape[0]:
        raise ValueError(
            "gates must be (B, M) for weights (M, ...), "
            f"got {tuple(gates.shape)} and {tuple(weights.shape)}"
        )
    return _aggregate_op(weights, gates, dtype or weights.dtype, backend)


def mix(weights: Tensor, gates: Tensor, dtype: torch.dtype, backend: str | None) -> Tensor:
    """What `aggregate` computes, for ops that contain it."""
    if takes_triton(backend, weights):
        from hubfast.kernels.aggregate import aggregate as kernel  # triton is slow to import

        return kernel(weights, gates, dtype)
    order = memory_order(weights)
    return out_of_order(reference.aggregate(in_order(weights, order), gates, dtype), order)


def mix_backward(
    grad: Tensor, weights: Tensor, gates: Tensor, backend: str | None
) -> tuple[Tensor, Tensor]:
    """Gradients of weights and gates from `grad` `(B, ...)`."""
    if takes_triton(backend, weights):
        from hubfast.kernels.aggregate import aggregate_backward as kernel

        return kernel(grad, weights, gates)
    order = memory_order(weights)
    rows = in_order(weights, order)
    rows_grad, gates_grad = reference.aggregate_backward(in_order(grad, order), rows, gates)
    return out_of_order(rows_grad, order), gates_grad


def _fake_aggregate(
    weights: Tensor, gates: Tensor, dtype: torch.dtype, backend: str | None
) -> Tensor:
    return empty_in_order(weights, gates.shape[0], dtype)


def _fake_aggregate_backward(
    grad: Tensor, weights: Tensor, gates: Tensor, backend: str | None
) -> tuple[Tensor, Tensor]:
    weights_grad = empty_in_order(weights, weights.shape[0], weights.dtype)
    return weights_grad, gates.new_empty(gates.shape)


@register("aggregate_backward", fake=_fake_aggregate_backward)
def _aggregate_backward_op(
    grad: Tensor, weights: Tensor, gates: Tensor, backend: str | None
) -> tuple[Tensor, Tensor]:
    return mix_backward(grad, weights, gates, backend)


def _setup_aggregate(ctx: Any, inputs: tuple, output: Tensor) -> None:
    weights, gates, _, ctx.backend = inputs
    ctx.save_for_backward(weights, gates)


def _grad_aggregate(ctx: Any, grad: Tensor) -> tuple:
    return (*_aggregate_backward_op(grad, *ctx.saved_tensors, ctx.backend), None, None)


@register("aggregate", fake=_fake_aggregate, setup=_setup_aggregate, backward=_grad_aggregate)
def _aggregate_op(
    weights: Tensor, gates: Tensor, dtype: torch.dtype, backend: str | None
) -> Tensor:
    return mix(weights, gates, dtype, backend)
