"""The weights of Zoo-Tuning and the convolution that takes them: each op, and its gradient's op."""

import torch
from torch import Tensor

from hubfast.ops import reference
from hubfast.ops.arguments import takes_triton
from hubfast.ops.reference import Geometry
from hubfast.ops.zoo_conv.blocked import empty_like

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
        dtype: Of the result; that of the weights. Sums are in the wider of the arguments' dtypes.
        backend: `"triton"` (CUDA), `"torch"`, or None for the best there is.

    Returns:
        `(B, ...)`.

    Raises:
        ValueError: Shapes that do not fit.
    """
    if gates.ndim != 2 or weights.ndim < 2 or gates.shape[1] != weights.shape[0]:
        raise ValueError(
            "gates must be (B, M) for weights (M, ...), "
            f"got {tuple(gates.shape)} and {tuple(weights.shape)}"
        )
    return _aggregate(weights, gates, dtype or weights.dtype, backend)


def sample_conv(
    x: Tensor,
    weight: Tensor,
    *,
    stride: tuple[int, ...] | None = None,
    padding: tuple[int, ...] | None = None,
    dilation: tuple[int, ...] | None = None,
    groups: int = 1,
    backend: str | None = None,
) -> Tensor:
    """Convolution with a kernel of its own for each sample: `y_b = conv(x_b, weight_b)`.

    Args:
        x: `(B, I, ...)`, any number of spatial dimensions.
        weight: `(B, O, I / groups, ...)`, same dtype.
        stride: An integer a spatial dimension; ones.
        padding: Zeros added on either side; none.
        dilation: Ones.
        groups: As in torch's convolutions.
        backend: `"triton"` (CUDA, two spatial dimensions, one group), `"torch"`, or None.

    Returns:
        `(B, O, ...)`, in the memory order of `x`.

    Raises:
        ValueError: Shapes that do not fit.
    """
    geometry = as_geometry(x, stride, padding, dilation, groups)
    check_weight("weight", x, weight, groups)
    if len(weight) != len(x):
        raise ValueError(f"weight must be of {len(x)} samples as x is, got {len(weight)}")
    return _sample_conv(x, weight, *geometry, backend)


def as_geometry(
    x: Tensor,
    stride: tuple[int, ...] | None,
    padding: tuple[int, ...] | None,
    dilation: tuple[int, ...] | None,
    groups: int,
) -> Geometry:
    """Checked arguments of a convolution of `x`."""
    dimensions = x.ndim - 2
    if dimensions < 1:
        raise ValueError(f"x must be (B, I, ...) with spatial dimensions, got {tuple(x.shape)}")
    ones = (1,) * dimensions
    found = Geometry(stride or ones, padding or (0,) * dimensions, dilation or ones, groups)
    for name, value in zip(("stride", "padding", "dilation"), found[:3], strict=True):
        if len(value) != dimensions:
            raise ValueError(f"{name} must have {dimensions} integers for this x, got {value}")
    return found


def check_weight(name: str, x: Tensor, weight: Tensor, groups: int) -> None:
    """Whether `weight` `(any, O, I / groups, ...)` fits `x` `(B, I, ...)`."""
    fits = weight.ndim == x.ndim + 1 and weight.shape[2] * groups == x.shape[1]
    if not fits or weight.shape[1] % groups:
        raise ValueError(
            f"{name} must be (., O, I / groups, ...) for x (B, I, ...) and {groups} groups, "
            f"got {tuple(weight.shape)} for {tuple(x.shape)}"
        )


def kernel_fits(x: Tensor, geometry: Geometry) -> bool:
    """Whether the Triton kernels take this convolution."""
    return x.ndim == 4 and geometry.groups == 1


@torch.library.custom_op("hubfast::aggregate", mutates_args=())
def _aggregate(weights: Tensor, gates: Tensor, dtype: torch.dtype, backend: str | None) -> Tensor:
    if takes_triton(backend, weights):
        from hubfast.kernels.aggregate import aggregate as kernel  # triton is slow to import

        return kernel(weights, gates, dtype)
    return reference.aggregate(weights, gates, dtype)


@_aggregate.register_fake
def _(weights: Tensor, gates: Tensor, dtype: torch.dtype, backend: str | None) -> Tensor:
    return weights.new_empty(gates.shape[0], *weights.shape[1:], dtype=dtype)


@torch.library.custom_op("hubfast::aggregate_backward", mutates_args=())
def _aggregate_backward(
    grad: Tensor, weights: Tensor, gates: Tensor, backend: str | None
) -> tuple[Tensor, Tensor]:
    if takes_triton(backend, weights):
        from hubfast.kernels.aggregate import aggregate_backward as kernel

        return kernel(grad, weights, gates)
    return reference.aggregate_backward(grad, weights, gates)


@_aggregate_backward.register_fake
def _(grad: Tensor, weights: Tensor, gates: Tensor, backend: str | None) -> tuple[Tensor, Tensor]:
    return weights.new_empty(weights.shape), gates.new_empty(gates.shape)


def _save_aggregate(ctx, inputs: tuple, output: Tensor) -> None:  # type: ignore[no-untyped-def]
    weights, gates, _, ctx.backend = inputs
    ctx.save_for_backward(weights, gates)


def _aggregate_grad(ctx, grad: Tensor) -> tuple:  # type: ignore[no-untyped-def]
    return (*_aggregate_backward(grad, *ctx.saved_tensors, ctx.backend), None, None)


_aggregate.register_autograd(_aggregate_grad, setup_context=_save_aggregate)


@torch.library.custom_op("hubfast::sample_conv", mutates_args=())
def _sample_conv(
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    backend: str | None,
) -> Tensor:
    geometry = Geometry(tuple(stride), tuple(padding), tuple(dilation), groups)
    if takes_triton(backend, x, kernel_fits(x, geometry)):
        from hubfast.kernels.sample_conv import sample_conv as kernel

        return kernel(x, weight, geometry)
    y = reference.sample_conv(x, weight, geometry)
    return empty_like(x, y.shape[1], tuple(y.shape[2:])).copy_(y)


@_sample_conv.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    backend: str | None,
) -> Tensor:
    geometry = Geometry(tuple(stride), tuple(padding), tuple(dilation), groups)
    size = geometry.output_size(tuple(x.shape[2:]), tuple(weight.shape[3:]))
    return empty_like(x, weight.shape[1], size)


@torch.library.custom_op("hubfast::sample_conv_backward", mutates_args=())
def _sample_conv_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    backend: str | None,
) -> tuple[Tensor, Tensor]:
    geometry = Geometry(tuple(stride), tuple(padding), tuple(dilation), groups)
    if takes_triton(backend, x, kernel_fits(x, geometry)):
        from hubfast.kernels.sample_conv_backward import sample_conv_backward as kernel

        return kernel(grad, x, weight, geometry)
    dx, dw = reference.sample_conv_backward(grad, x, weight, geometry)
    return empty_like(x, x.shape[1], tuple(x.shape[2:])).copy_(dx), dw.contiguous()


@_sample_conv_backward.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return empty_like(x, x.shape[1], tuple(x.shape[2:])), weight.new_empty(weight.shape)


def _save_sample_conv(ctx, inputs: tuple, output: Tensor) -> None:  # type: ignore[no-untyped-def]
    x, weight, *ctx.how = inputs
    ctx.save_for_backward(x, weight)


def _sample_conv_grad(ctx, grad: Tensor) -> tuple:  # type: ignore[no-untyped-def]
    dx, dw = _sample_conv_backward(grad, *ctx.saved_tensors, *ctx.how)
    return dx, dw, None, None, None, None, None


_sample_conv.register_autograd(_sample_conv_grad, setup_context=_save_sample_conv)
