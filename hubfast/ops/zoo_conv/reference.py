"""Zoo-Tuning's weights and convolutions: alignment, gate-weighted sums, kernels for each sample.

Shu et al., "Zoo-Tuning: Adaptive Transfer from A Zoo of Models", ICML 2021: a layer's weights W_m
of M models become, for sample b, `W_b = sum_m a_bm T_m W_m`.
"""

import torch
from torch import Tensor

from hubfast.ops.zoo_conv.geometry import (
    Geometry,
    convolve,
    convolve_backward,
    memory_order,
    out_of_order,
)


def align(weights: Tensor, alignment: Tensor) -> Tensor:
    """`T_m W_m`: mixes the output channels of each model's weights.

    In a grouped convolution channels of one group only are mixed: these take the same inputs.

    Args:
        weights: `(M, O, ...)`.
        alignment: T, `(M, O, O / groups)`: one block of rows per group.
    """
    models, out, channels = alignment.shape
    blocks = (models, out // channels, channels, -1)
    order = _rows_order(weights)
    rows = weights.permute(order)
    aligned = alignment.reshape(blocks) @ rows.reshape(blocks)
    return out_of_order(aligned.reshape(rows.shape), order)


def align_and_mix(weights: Tensor, alignment: Tensor, gates: Tensor) -> Tensor:
    """`sum_m a_m T_m W_m`, as the one matrix product `[a_1 T_1 ... a_M T_M] [W_1; ...; W_M]`.

    As many multiply-adds as `align` takes, in both directions, without M aligned copies.

    Args:
        weights: `(M, O, ...)`.
        alignment: T, `(M, O, O / groups)`, see `align`.
        gates: a, `(M,)`.

    Returns:
        `(O, ...)`.
    """
    models, out, channels = alignment.shape
    groups = out // channels
    gated = (gates.to(alignment.dtype)[:, None, None] * alignment).view(
        models, groups, channels, -1
    )
    joined = gated.permute(1, 2, 0, 3).flatten(2)  # (groups, channels, M channels)
    order = _rows_order(weights)
    rows = weights.permute(order)
    stacked = rows.reshape(models, groups, channels, -1).transpose(0, 1).flatten(1, 2)
    return out_of_order((joined @ stacked).reshape(1, *rows.shape[1:]), order)[0]


def _rows_order(weights: Tensor) -> tuple[int, ...]:
    """The memory order of `weights` `(M, O, ...)` where rows of O are whole in it."""
    order = memory_order(weights)
    return order if order[1] == 1 else tuple(range(weights.ndim))


def aggregate(weights: Tensor, gates: Tensor, dtype: torch.dtype) -> Tensor:
    """`W_b = sum_m a_bm W_m`.

    Args:
        weights: `(M, ...)`.
        gates: a, `(B, M)`.
        dtype: Dtype of the result; sums are in the wider of the arguments' dtypes.

    Returns:
        `(B, ...)`.
    """
    wide = torch.promote_types(weights.dtype, gates.dtype)
    mixed = gates.to(wide) @ weights.to(wide).flatten(1)
    return mixed.to(dtype).view(len(gates), *weights.shape[1:])


def aggregate_backward(grad: Tensor, weights: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of weights and gates from `grad` `(B, ...)`."""
    wide = torch.promote_types(weights.dtype, gates.dtype)
    rows, mixed = weights.flatten(1).to(wide), grad.flatten(1).to(wide)
    weights_grad = gates.to(wide).T @ mixed
    gates_grad = mixed @ rows.T
    return weights_grad.view(weights.shape).to(weights.dtype), gates_grad.to(gates.dtype)


def sample_conv(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """`y_b = conv(x_b, W_b)`.

    Args:
        x: `(B, I, ...)`.
        weight: `(B, O, I / groups, ...)`.
        geometry: Stride, padding, dilation and groups.

    Returns:
        `(B, O, ...)`.
    """
    if x.numel() == 0:  # Of no channels torch's convolution makes a result without channels.
        size = geometry.output_size(tuple(x.shape[2:]), tuple(weight.shape[3:]))
        return x.new_zeros(len(x), weight.shape[1], *size)
    samples = zip(x, weight, strict=True)
    return torch.stack([convolve(one[None], w, geometry)[0] for one, w in samples])


def sample_conv_backward(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """Gradients of `x` and `weight` from `grad` `(B, O, ...)`, sample by sample."""
    if x.numel() == 0:
        return x.new_zeros(x.shape), weight.new_zeros(weight.shape)
    pairs = [
        convolve_backward(grad[b : b + 1], x[b : b + 1], weight[b], geometry) for b in range(len(x))
    ]
    return torch.cat([dx for dx, _ in pairs]), torch.stack([dw for _, dw in pairs])


def zoo_conv(
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    geometry: Geometry,
    bias: Tensor | None = None,
    alignment: Tensor | None = None,
) -> Tensor:
    """`y_b = sum_m a_bm [conv(x_b, T_m W_m) + bias_m]`, one convolution per model.

    Args:
        x: `(B, I, ...)`.
        weights: `(M, O, I / groups, ...)`.
        gates: a, `(B, M)`.
        geometry: Stride, padding, dilation and groups.
        bias: `(M, O)`.
        alignment: T, see `align`.
    """
    if alignment is not None:
        weights = align(weights, alignment)
    spatial = (1,) * (x.ndim - 2)
    out = x.new_zeros(())
    for model, weight in enumerate(weights):
        y = convolve(x, weight, geometry)
        if bias is not None:
            y = y + bias[model].view(-1, *spatial)
        out = out + gates[:, model].view(-1, 1, *spatial) * y
    return out
