"""Zoo-Tuning's weights: channel alignment, and the gate-weighted sum of a hub's weights.

Shu et al., "Zoo-Tuning: Adaptive Transfer from A Zoo of Models", ICML 2021: a layer's weights W_m
of M models become, for sample b, `W_b = sum_m a_bm T_m W_m`.
"""

import torch
from torch import Tensor


def align(weights: Tensor, alignment: Tensor) -> Tensor:
    """`T_m W_m`: mixes the output channels of each model's weights.

    In a grouped convolution channels of one group only are mixed: they see the same inputs.

    Args:
        weights: `(M, O, ...)`.
        alignment: T, `(M, O, O / groups)`: a block of rows a group.
    """
    models, out, channels = alignment.shape
    blocks = (models, out // channels, channels, -1)
    return (alignment.reshape(blocks) @ weights.reshape(blocks)).reshape(weights.shape)


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
    stacked = weights.reshape(models, groups, channels, -1).transpose(0, 1).flatten(1, 2)
    return (joined @ stacked).reshape(weights.shape[1:])


def aggregate(weights: Tensor, gates: Tensor, dtype: torch.dtype) -> Tensor:
    """`W_b = sum_m a_bm W_m`.

    Args:
        weights: `(M, ...)`.
        gates: a, `(B, M)`.
        dtype: Of the result; sums are in the wider of the arguments' dtypes.

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
