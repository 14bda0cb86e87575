"""Routing of samples to k of M models: registered, differentiable, deterministic ops."""

import torch
from torch import Tensor

from hubfast.ops.reference import Routes
from hubfast.ops.routing import library as ops


def route(
    logits: Tensor,
    k: int,
    *,
    spread: Tensor | None = None,
    noise: Tensor | None = None,
    backend: str | None = None,
) -> Routes:
    """Noisy top-k routing of each sample to k of M models.

    h = logits + softplus(spread) * noise; the k largest h are chosen, ties going to the first
    model; gates are the softmax over the chosen (Shazeer et al., ICLR 2017, Eq. 3-5). For k = 1
    that would be 1 and teach nothing, so there the gate is the probability among all models.
    Computed in float32 or better; differentiable in `logits` and `spread` through gates,
    probabilities and entropy. On a GPU nothing waits for the host.

    Args:
        logits: `(B, M)`, any float dtype.
        k: Models for a sample, 1..M.
        spread: Softplus of it is the deviation of the noise, `(B, M)`.
        noise: Standard normal, `(B, M)`; None with `spread`: no noise.
        backend: `"triton"` (CUDA, not float64, up to 64 models), `"torch"`, or None.

    Raises:
        ValueError: Shapes that do not fit, k out of range, one of spread and noise alone.
        TypeError: Logits that are no floats.
    """
    if logits.ndim != 2 or not logits.shape[1]:
        raise ValueError(f"logits must be (batch, models), got {tuple(logits.shape)}")
    if not logits.is_floating_point():
        raise TypeError(f"logits must be of a float dtype, got {logits.dtype}")
    if not 1 <= k <= logits.shape[1]:
        raise ValueError(f"k must be in 1..{logits.shape[1]}, the number of models, got {k}")
    if (spread is None) != (noise is None):
        raise ValueError("spread and noise must be given together")
    for name, x in (("spread", spread), ("noise", noise)):
        if x is not None and x.shape != logits.shape:
            raise ValueError(f"{name} must be {tuple(logits.shape)}, got {tuple(x.shape)}")
    return Routes(*ops.route(logits, spread, noise, k, backend))


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
        routes: Of the batch's samples.
        start, stop: Rows, as in `routes.offsets`; all by default.
        dtype: Of the result; None keeps the batch's.
        backend: `"triton"` (CUDA, not float64), `"torch"`, or None.

    Returns:
        `(stop - start, ...)`.

    Raises:
        ValueError: Another number of samples than routed, rows that are not there.
    """
    samples = len(routes.chosen)
    if len(batch) != samples:
        raise ValueError(f"batch must hold {samples} samples as routed, got {len(batch)}")
    stop = len(routes.order) if stop is None else stop
    if not 0 <= start <= stop <= len(routes.order):
        raise ValueError(f"rows must be within 0..{len(routes.order)}, got {start}..{stop}")
    wanted = batch.dtype if dtype is None else dtype
    return ops.dispatch(batch, routes.order, routes.position, start, stop, wanted, backend)


def combine(rows: Tensor, gates: Tensor, position: Tensor, *, backend: str | None = None) -> Tensor:
    """What k models say of each sample, weighted.

    `out[b] = sum_j gates[b, j] rows[position[b, j]]`.

    Args:
        rows: `(B k, E)`, in the order of models; any float dtype, summed in float32 or better.
        gates: `(B, k)`; differentiable, as are the rows.
        position: Row of each (sample, choice), `(B, k)` int64: a permutation of the rows.
        backend: `"triton"` (CUDA, not float64), `"torch"`, or None.

    Returns:
        `(B, E)` in the dtype of the rows.

    Raises:
        ValueError: Shapes that do not fit.
    """
    if gates.shape != position.shape or gates.ndim != 2:
        found = f"{tuple(gates.shape)} and {tuple(position.shape)}"
        raise ValueError(f"gates and position must both be (batch, k), got {found}")
    if rows.ndim != 2 or len(rows) != gates.numel():
        raise ValueError(f"rows must be ({gates.numel()}, width), got {tuple(rows.shape)}")
    return ops.combine(rows, gates, position, backend)
