"""The ops of `functional.pathway` as torch sees them: kernels by backend, fakes, gradients."""

import torch
from torch import Tensor
from torch.library import custom_op

from hubfast.ops import reference
from hubfast.ops.arguments import takes_triton

MOST_MODELS = 64  # a kernel's row of models is one tile in registers


@custom_op("hubfast::route", mutates_args=())
def route(
    logits: Tensor, spread: Tensor | None, noise: Tensor | None, k: int, backend: str | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    if takes_triton(backend, logits, logits.shape[1] <= MOST_MODELS):
        from hubfast.kernels.route import route as kernel  # triton is slow to import

        return kernel(logits, k, spread, noise)
    return reference.route(logits, k, spread, noise)


@route.register_fake
def _(logits, spread, noise, k, backend):  # type: ignore[no-untyped-def]
    batch, models = logits.shape
    exact = torch.promote_types(logits.dtype, torch.float32)
    floats = [logits.new_empty(s, dtype=exact) for s in ((batch, k), (batch, models), (2,))]
    shapes = ((batch, k), (models,), (models + 1,), (batch * k,), (batch, k))
    return *floats, *(logits.new_empty(s, dtype=torch.int64) for s in shapes)


@custom_op("hubfast::route_backward", mutates_args=())
def route_backward(
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
    known = (gates, probabilities, index, spread, noise)
    if takes_triton(backend, probabilities, probabilities.shape[1] <= MOST_MODELS):
        from hubfast.kernels.route_backward import route_backward as kernel

        return kernel(d_gates, d_probabilities, d_entropy, *known)
    return reference.route_backward(d_gates, d_probabilities, d_entropy, *known)


@route_backward.register_fake
def _(d_gates, d_probabilities, *_):  # type: ignore[no-untyped-def]
    return torch.empty_like(d_probabilities), torch.empty_like(d_probabilities)


def _keep_route(ctx, inputs, output):  # type: ignore[no-untyped-def]
    logits, spread, noise, _, ctx.backend = inputs
    gates, probabilities, _, index, *_ = output
    ctx.save_for_backward(gates, probabilities, index, spread, noise)
    ctx.dtype = logits.dtype


def _route_gradient(ctx, d_gates, d_probabilities, d_entropy, *_):  # type: ignore[no-untyped-def]
    saved = ctx.saved_tensors
    spread = saved[3]
    given = [d.contiguous() for d in (d_gates, d_probabilities, d_entropy)]
    d_logits, d_spread = route_backward(*given, *saved, ctx.backend)
    found = None if spread is None else d_spread.to(spread.dtype)
    return d_logits.to(ctx.dtype), found, None, None, None


route.register_autograd(_route_gradient, setup_context=_keep_route)


@custom_op("hubfast::dispatch", mutates_args=())
def dispatch(
    batch: Tensor,
    order: Tensor,
    position: Tensor,
    start: int,
    stop: int,
    dtype: torch.dtype,
    backend: str | None,
) -> Tensor:
    k = position.shape[1]
    if takes_triton(backend, batch):
        from hubfast.kernels.dispatch import dispatch as kernel

        return kernel(batch, order, k, start, stop, dtype)
    return reference.dispatch(batch, order, k, start, stop, dtype)


@dispatch.register_fake
def _(batch, order, position, start, stop, dtype, backend):  # type: ignore[no-untyped-def]
    out = batch.new_empty(stop - start, *batch.shape[1:], dtype=dtype)
    return out.contiguous(memory_format=reference.memory_format(batch))


@custom_op("hubfast::dispatch_backward", mutates_args=())
def dispatch_backward(
    d_rows: Tensor, position: Tensor, start: int, dtype: torch.dtype, backend: str | None
) -> Tensor:
    if takes_triton(backend, d_rows):
        from hubfast.kernels.dispatch import dispatch_backward as kernel

        return kernel(d_rows, position, start, dtype)
    return reference.dispatch_backward(d_rows, position, start, dtype)


@dispatch_backward.register_fake
def _(d_rows, position, start, dtype, backend):  # type: ignore[no-untyped-def]
    out = d_rows.new_empty(len(position), *d_rows.shape[1:], dtype=dtype)
    return out.contiguous(memory_format=reference.memory_format(d_rows))


def _keep_dispatch(ctx, inputs, output):  # type: ignore[no-untyped-def]
    batch, _, position, ctx.start, _, _, ctx.backend = inputs
    ctx.save_for_backward(position)
    ctx.dtype = batch.dtype


def _dispatch_gradient(ctx, d_rows):  # type: ignore[no-untyped-def]
    (position,) = ctx.saved_tensors
    d_batch = dispatch_backward(d_rows, position, ctx.start, ctx.dtype, ctx.backend)
    return d_batch, None, None, None, None, None, None


dispatch.register_autograd(_dispatch_gradient, setup_context=_keep_dispatch)


@custom_op("hubfast::combine", mutates_args=())
def combine(rows: Tensor, gates: Tensor, position: Tensor, backend: str | None) -> Tensor:
    if takes_triton(backend, rows):
        from hubfast.kernels.dispatch import combine as kernel

        return kernel(rows, gates, position)
    return reference.combine(rows, gates, position)


@combine.register_fake
def _(rows, gates, position, backend):  # type: ignore[no-untyped-def]
    return rows.new_empty(len(gates), rows.shape[1])


@custom_op("hubfast::combine_backward", mutates_args=())
def combine_backward(
    d_out: Tensor, rows: Tensor, gates: Tensor, position: Tensor, backend: str | None
) -> tuple[Tensor, Tensor]:
    if takes_triton(backend, rows):
        from hubfast.kernels.dispatch import combine_backward as kernel

        return kernel(d_out, rows, gates, position)
    return reference.combine_backward(d_out, rows, gates, position)


@combine_backward.register_fake
def _(d_out, rows, gates, position, backend):  # type: ignore[no-untyped-def]
    return torch.empty_like(rows), torch.empty_like(gates)


def _keep_combine(ctx, inputs, output):  # type: ignore[no-untyped-def]
    rows, gates, position, ctx.backend = inputs
    ctx.save_for_backward(rows, gates, position)


def _combine_gradient(ctx, d_out):  # type: ignore[no-untyped-def]
    d_rows, d_gates = combine_backward(d_out.contiguous(), *ctx.saved_tensors, ctx.backend)
    return d_rows, d_gates, None, None


combine.register_autograd(_combine_gradient, setup_context=_keep_combine)
