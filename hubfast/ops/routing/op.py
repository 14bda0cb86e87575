"""Routing of samples to k of M models: registered, differentiable and deterministic."""

from typing import Any

import torch
from torch import Tensor

from hubfast.ops.backends import takes_triton
from hubfast.ops.registration import register
from hubfast.ops.routing import reference
from hubfast.ops.routing.reference import Routes

MOST_MODELS = 64  # a kernel's row of models is one tile in registers


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
        k: Number of models per sample, 1..M.
        spread: `(B, M)`; its softplus is the std of the noise. None, with `noise`, for no noise.
        noise: Draws from a standard normal, `(B, M)`; None, with `spread`, for no noise.
        backend: `"triton"` (CUDA, not float64, up to 64 models), `"torch"`, or None.

    Raises:
        ValueError: Shapes that do not fit each other, k out of range, or only one of `spread` and
            `noise`.
        TypeError: Logits, `spread` or `noise` that are not of a float dtype.
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
        if x is None:
            continue
        if x.shape != logits.shape:
            raise ValueError(f"{name} must be {tuple(logits.shape)}, got {tuple(x.shape)}")
        if not x.is_floating_point():
            raise TypeError(f"{name} must be of a float dtype, got {x.dtype}")
    return Routes(*_route_op(logits, spread, noise, k, backend))


def _fake_route(
    logits: Tensor, spread: Tensor | None, noise: Tensor | None, k: int, backend: str | None
) -> tuple[Tensor, ...]:
    batch, models = logits.shape
    exact = torch.promote_types(logits.dtype, torch.float32)
    floats = [logits.new_empty(s, dtype=exact) for s in ((batch, k), (batch, models), (2,))]
    shapes = ((batch, k), (models,), (models + 1,), (batch * k,), (batch, k))
    return *floats, *(logits.new_empty(s, dtype=torch.int64) for s in shapes)


def _fake_route_backward(
    d_gates: Tensor, d_probabilities: Tensor, *_: object
) -> tuple[Tensor, Tensor]:
    shape = d_probabilities.shape
    return d_probabilities.new_empty(shape), d_probabilities.new_empty(shape)


@register("route_backward", fake=_fake_route_backward)
def _route_backward_op(
    d_gates: Tensor,
    d_probabilities: Tensor,
    d_entropy: Tensor,
    gates: Tensor,
    probabilities: Tensor,
    index: Tensor,
    spread: Tensor | None,
    noise: Tensor | None,
    backend: str | None,
) -> tuple[Tensor, Tensor]:
    saved = (gates, probabilities, index, spread, noise)
    if takes_triton(backend, probabilities, probabilities.shape[1] <= MOST_MODELS):
        from hubfast.kernels.route_backward import route_backward as kernel

        return kernel(d_gates, d_probabilities, d_entropy, *saved)
    d_logits, d_spread = reference.route_backward(d_gates, d_probabilities, d_entropy, *saved)
    return d_logits.contiguous(), d_spread.contiguous()


def _setup_route(ctx: Any, inputs: tuple, output: tuple) -> None:
    logits, spread, noise, _, ctx.backend = inputs
    gates, probabilities, _, index, *_ = output
    ctx.save_for_backward(gates, probabilities, index, spread, noise)
    ctx.dtype = logits.dtype


def _grad_route(
    ctx: Any, d_gates: Tensor, d_probabilities: Tensor, d_entropy: Tensor, *_: object
) -> tuple:
    saved = ctx.saved_tensors
    spread = saved[3]
    given = [d.contiguous() for d in (d_gates, d_probabilities, d_entropy)]
    d_logits, d_spread = _route_backward_op(*given, *saved, ctx.backend)
    d_spread = None if spread is None else d_spread.to(spread.dtype)
    return d_logits.to(ctx.dtype), d_spread, None, None, None


@register("route", fake=_fake_route, setup=_setup_route, backward=_grad_route)
def _route_op(
    logits: Tensor, spread: Tensor | None, noise: Tensor | None, k: int, backend: str | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    if takes_triton(backend, logits, logits.shape[1] <= MOST_MODELS):
        from hubfast.kernels.route import route as kernel  # triton is slow to import

        return kernel(logits, k, spread, noise)
    return reference.route(logits, k, spread, noise)
