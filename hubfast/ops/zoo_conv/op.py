"""The convolution of a Zoo-Tuning layer, in four forms that compute the same."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from hubfast.ops.backends import choose, on_device, takes_triton
from hubfast.ops.registration import register
from hubfast.ops.zoo_conv import blocked, grouped, native
from hubfast.ops.zoo_conv.aggregate import aggregate
from hubfast.ops.zoo_conv.forms import concatenated, dense, separate
from hubfast.ops.zoo_conv.geometry import (
    Geometry,
    as_geometry,
    autocasts,
    check_weight,
    empty_in_order,
    empty_like,
    in_order,
    kernel_fits,
    memory_order,
    out_of_order,
    pointwise,
)
from hubfast.ops.zoo_conv.reference import align, align_and_mix
from hubfast.ops.zoo_conv.sample_conv import sample_conv

Form = Literal["mix", "keep", "concatenate", "separate"]


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
        form: `"mix"` mixes the weights of each sample and keeps none for backward; `"keep"` keeps
            them, B times a model's weights in the dtype of x, and need not mix again;
            `"concatenate"` convolves the M gated copies of x at once; `"separate"` convolves x
            with all M models' weights and sums: for maps of few pixels. The latter two take one
            group.
        backend: Who runs `"mix"`: `"triton"` (CUDA, two spatial dimensions or kernels of size one,
            one group), `"native"` (CPU, float32), `"torch"`, or None. `"keep"` has no `"native"`.

    Returns:
        `(B, O, ...)`.

    Raises:
        ValueError: Shapes that do not fit each other, or an unknown form.
    """
    geometry = as_geometry(x, stride, padding, dilation, groups)
    check_weight("weights", x, weights, groups)
    _check(x, weights, gates, geometry, form)
    if autocasts(x):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    if form == "separate" and gates.shape[0] == x.shape[0]:
        y = separate(x, weights, gates, alignment, geometry)
    elif alignment is not None and gates.shape[0] == 1:
        y = dense(x, align_and_mix(weights, alignment, gates[0]).to(x.dtype), geometry)
    else:
        if alignment is not None:
            weights = align(weights, alignment)
        y = _mixed(x, weights, gates, geometry, form, backend)
    if bias is None:
        return y
    return y + (gates @ bias).to(y.dtype).view(-1, weights.shape[1], *(1,) * (x.ndim - 2))


def _check(x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry, form: str) -> None:
    if form not in get_args(Form):
        raise ValueError(f"form must be one of {get_args(Form)}, got {form!r}")
    if form not in ("mix", "keep") and geometry.groups != 1:
        raise ValueError(f"form must be 'mix' or 'keep' for {geometry.groups} groups, got {form!r}")
    kernel = tuple(weights.shape[3:])
    if min(geometry.output_size(tuple(x.shape[2:]), kernel)) < 1:
        raise ValueError(
            f"weights must have kernels within the padded x, got {kernel} for {tuple(x.shape)}"
        )
    wanted = (x.shape[0], weights.shape[0])
    fits = gates.ndim == 2 and gates.shape[1] == weights.shape[0]
    if not fits or (gates.shape[0] != x.shape[0] and gates.shape[0] != 1):
        raise ValueError(f"gates must be {wanted} or one row, got {tuple(gates.shape)}")


def _mixed(
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    geometry: Geometry,
    form: str,
    backend: str | None,
) -> Tensor:
    if gates.shape[0] == 1:
        return dense(x, aggregate(weights, gates, dtype=x.dtype, backend=backend)[0], geometry)
    if form == "concatenate":
        return concatenated(x, weights, gates, geometry)
    if form == "keep":
        mixed = aggregate(weights, gates, dtype=x.dtype, backend=backend)
        return sample_conv(x, mixed, **geometry._asdict(), backend=backend)
    return _zoo_conv_op(x, weights, gates, *geometry, backend)


def _choose(
    backend: str | None, x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry
) -> str:
    """One of `"native"`, `"triton"` and `"blocked"`, or of `"grouped"`, which CUDA has besides."""
    wide = torch.promote_types(weights.dtype, gates.dtype)
    if native.fits(x, weights, wide, geometry):
        wins = native.wins(x, weights, geometry)
        chosen = choose(backend, *(("native",) if wins else ("torch", "native")))
        return "native" if chosen == "native" else "blocked"
    simple = pointwise(tuple(weights.shape[3:]), geometry)
    if takes_triton(backend, x, simple or kernel_fits(x, geometry)) and kernel_fits(x, geometry):
        return "triton"
    return "grouped" if on_device(x, cuda=("grouped",)) else "blocked"


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
    d_weights = empty_in_order(weights, weights.shape[0], weights.dtype)
    return dx, d_weights, gates.new_empty(gates.shape)


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
    chosen = _choose(backend, x, weights, gates, geometry)
    if chosen == "triton":
        from hubfast.kernels.zoo_conv import zoo_conv_backward as kernel

        found = kernel(grad, x, weights, gates, geometry, input_grad=input_grad)
    elif chosen == "grouped":
        found = grouped.backward(grad, x, weights, gates, geometry, backend, input_grad=input_grad)
    else:
        run = native.backward if chosen == "native" else blocked.backward
        wide = _same_dtype(weights, gates)
        found = run(grad, x, *wide, geometry, input_grad=input_grad)
    dx, d_weights, d_gates = found
    order = memory_order(weights)
    d_weights = out_of_order(in_order(d_weights.to(weights.dtype), order), order)
    return dx, d_weights, d_gates.to(gates.dtype)


def _same_dtype(weights: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(weights.dtype, gates.dtype)
    return weights.to(wide), gates.to(wide)


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
    chosen = _choose(backend, x, weights, gates, geometry)
    if chosen == "triton":
        from hubfast.kernels.zoo_conv import zoo_conv as kernel  # triton is slow to import

        return kernel(x, weights, gates, geometry)
    if chosen == "grouped":
        return grouped.forward(x, weights, gates, geometry, backend)
    run = native.forward if chosen == "native" else blocked.forward
    return run(x, *_same_dtype(weights, gates), geometry)
