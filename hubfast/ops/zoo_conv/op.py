"""The convolution of a Zoo-Tuning layer, in three forms that compute the same."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.amp import is_autocast_available
from torch.nn.functional import linear

from hubfast.ops.backends import choose, takes_triton
from hubfast.ops.registration import register
from hubfast.ops.zoo_conv import blocked, native
from hubfast.ops.zoo_conv.aggregate import aggregate
from hubfast.ops.zoo_conv.geometry import (
    Geometry,
    as_geometry,
    channels_last,
    check_weight,
    convolve,
    empty_like,
    kernel_fits,
    pointwise,
)
from hubfast.ops.zoo_conv.reference import align, align_and_mix

Form = Literal["mix", "concatenate", "separate"]


def zoo_conv(
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    bias: Tensor | None = None,
    alignment: Tensor | None = None,
    *,
    stride: tuple[int, ...] | None = None,
    padding: tuple[int, ...] | None = None,
    dilation: tuple[int, ...] | None = None,
    groups: int = 1,
    form: Form = "mix",
    backend: str | None = None,
) -> Tensor:
    """Convolution of each sample with its gated sum of M models' weights.

    `y_b = conv(x_b, sum_m a_bm T_m W_m) + sum_m a_bm bias_m`; Shu et al., "Zoo-Tuning", ICML
    2021. With one row of gates the weights are mixed once and the convolution is a plain one.
    Under autocast `x` takes the lower dtype; weights are mixed in their own.

    Args:
        x: `(B, I, ...)`, any number of spatial dimensions.
        weights: `(M, O, I / groups, ...)`.
        gates: a, `(B, M)`, or `(1, M)` for all samples.
        bias: `(M, O)`.
        alignment: T, `(M, O, O / groups)`, see `align`.
        stride: One integer per spatial dimension; ones by default.
        padding: Zeros added on either side, per spatial dimension; none by default.
        dilation: Distance of the kernel's taps, per spatial dimension; ones by default.
        groups: Groups of channels, as in torch's convolutions.
        form: `"mix"` mixes the weights of each sample and keeps none for backward;
            `"concatenate"` convolves the M gated copies of x at once; `"separate"` convolves x
            with all M models' weights and sums: for maps of few pixels. The latter two take one
            group.
        backend: Who runs `"mix"`: `"triton"` (CUDA), `"native"` (CPU, float32), `"torch"`, or None.

    Returns:
        `(B, O, ...)`.

    Raises:
        ValueError: Shapes that do not fit each other, or an unknown form.
    """
    geometry = as_geometry(x, stride, padding, dilation, groups)
    check_weight("weights", x, weights, groups)
    _check(x, weights, gates, groups, form)
    if is_autocast_available(x.device.type) and torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    if form == "separate" and gates.shape[0] == x.shape[0]:
        y = _separate(x, weights, gates, alignment, geometry)
    elif alignment is not None and gates.shape[0] == 1:
        y = _dense(x, align_and_mix(weights, alignment, gates[0]).to(x.dtype), geometry)
    else:
        if alignment is not None:
            weights = align(weights, alignment)
        y = _mixed(x, weights, gates, geometry, form, backend)
    if bias is None:
        return y
    return y + (gates @ bias).to(y.dtype).view(-1, weights.shape[1], *(1,) * (x.ndim - 2))


def _check(x: Tensor, weights: Tensor, gates: Tensor, groups: int, form: str) -> None:
    if form not in get_args(Form):
        raise ValueError(f"form must be one of {get_args(Form)}, got {form!r}")
    if form != "mix" and groups != 1:
        raise ValueError(f"form must be 'mix' for {groups} groups, got {form!r}")
    wanted = (x.shape[0], weights.shape[0])
    if tuple(gates.shape) not in (wanted, (1, weights.shape[0])):
        raise ValueError(f"gates must be {wanted} or one row, got {tuple(gates.shape)}")


def _mixed(
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    geometry: Geometry,
    form: str,
    backend: str | None,
) -> Tensor:
    wide = torch.promote_types(weights.dtype, gates.dtype)
    if gates.shape[0] == 1:
        return _dense(x, aggregate(weights, gates, dtype=x.dtype, backend=backend)[0], geometry)
    if form == "concatenate":
        copies = _gated_copies(x, gates.to(x.dtype))
        return _dense(copies, weights.transpose(0, 1).flatten(1, 2).to(x.dtype), geometry)
    return _zoo_conv_op(x, weights.to(wide), gates.to(wide), *geometry, backend)


def _gated_copies(x: Tensor, gates: Tensor) -> Tensor:
    """`(B, M I, ...)`, in the memory order of `x` `(B, I, ...)`."""
    if channels_last(x):
        gates = gates.view(x.shape[0], *(1,) * (x.ndim - 2), -1, 1)
        return (gates * x.movedim(1, -1).unsqueeze(-2)).flatten(-2).movedim(-1, 1)
    return (gates.view(x.shape[0], -1, *(1,) * (x.ndim - 1)) * x.unsqueeze(1)).flatten(1, 2)


def _dense(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """A plain convolution; tokens are multiplied as `nn.Linear` does."""
    plain = set(geometry.stride) == {1} and pointwise(tuple(weight.shape[2:]), geometry)
    if plain and channels_last(x):
        return linear(x.movedim(1, -1), weight.flatten(1)).movedim(-1, 1)
    return convolve(x, weight, geometry)


def _separate(
    x: Tensor, weights: Tensor, gates: Tensor, alignment: Tensor | None, geometry: Geometry
) -> Tensor:
    """Aligns the M results, at `O^2` products per pixel, and not the M kernels."""
    models, channels = weights.shape[:2]
    spatial = (1,) * (x.ndim - 2)
    y = _dense(x, weights.flatten(0, 1).to(x.dtype), geometry).unflatten(1, (models, channels))
    y = y * gates.view(-1, models, 1, *spatial).to(y.dtype)
    if alignment is None:
        return y.sum(1)
    joined = alignment.transpose(0, 1).flatten(1)  # (O, M O)
    plain = Geometry(spatial, (0,) * len(spatial), spatial)
    return _dense(y.flatten(1, 2), joined.view(channels, -1, *spatial).to(y.dtype), plain)


def _choose(backend: str | None, x: Tensor, weights: Tensor, geometry: Geometry) -> str:
    if native.fits(x, weights, geometry):
        wins = native.wins(x, weights, geometry)
        return choose(backend, *(("native",) if wins else ("torch", "native")))
    return "triton" if takes_triton(backend, x, kernel_fits(x, geometry)) else "torch"


def _fake_zoo_conv(
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    backend: str | None,
) -> Tensor:
    geometry = Geometry.of(stride, padding, dilation, groups)
    size = geometry.output_size(tuple(x.shape[2:]), tuple(weights.shape[3:]))
    return empty_like(x, weights.shape[1], size)


def _fake_zoo_conv_backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    backend: str | None,
    input_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    dx = empty_like(x, x.shape[1], tuple(x.shape[2:])) if input_grad else x.new_empty(0)
    return dx, weights.new_empty(weights.shape), gates.new_empty(gates.shape)


@register("zoo_conv_backward", fake=_fake_zoo_conv_backward)
def _zoo_conv_backward_op(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    backend: str | None,
    input_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    geometry = Geometry.of(stride, padding, dilation, groups)
    chosen = _choose(backend, x, weights, geometry)
    if chosen == "triton":
        from hubfast.kernels.zoo_conv import zoo_conv_backward as kernel

        return kernel(grad, x, weights, gates, geometry, input_grad=input_grad)
    run = native.backward if chosen == "native" else blocked.backward
    return run(grad, x, weights, gates, geometry, input_grad=input_grad)


def _setup_zoo_conv(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, weights, gates, *ctx.options = inputs
    ctx.save_for_backward(x, weights, gates)


def _grad_zoo_conv(ctx: Any, grad: Tensor) -> tuple:
    wanted = ctx.needs_input_grad[0]
    dx, *others = _zoo_conv_backward_op(grad, *ctx.saved_tensors, *ctx.options, wanted)
    return (dx if wanted else None, *others, *(None,) * len(ctx.options))


@register("zoo_conv", fake=_fake_zoo_conv, setup=_setup_zoo_conv, backward=_grad_zoo_conv)
def _zoo_conv_op(
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    backend: str | None,
) -> Tensor:
    geometry = Geometry.of(stride, padding, dilation, groups)
    chosen = _choose(backend, x, weights, geometry)
    if chosen == "triton":
        from hubfast.kernels.zoo_conv import zoo_conv as kernel  # triton is slow to import

        return kernel(x, weights, gates, geometry)
    run = native.forward if chosen == "native" else blocked.forward
    return run(x, weights, gates, geometry)
