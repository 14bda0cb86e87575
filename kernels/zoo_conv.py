"""Zoo-Tuning's convolution: each sample's mix of M models' weights, and its gradients.

Spec: `reference.zoo_conv`. Weights come with a tap's input channels side by side. On larger maps a
layer's mixed weights are written once, for `sample_conv`. On small ones they would be read about
as often as they are written, and are mixed where they are used (`fused_zoo_conv`).
"""

import torch
from hubfast.kernels.aggregate import aggregate, aggregate_backward
from hubfast.kernels.fused_zoo_conv import mixed_convolve, weight_and_gate_gradients
from hubfast.kernels.sample_conv import sample_conv
from hubfast.kernels.sample_conv_backward import sample_conv_backward
from torch import Tensor

from hubfast.ops.zoo_conv.geometry import Geometry, empty_like

FUSED_PIXELS = (
    0  # of the larger map; 0 is never: by arithmetic 14 * 14 on an H200, not measured yet
)


def zoo_conv(
    x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry, *, fused: bool | None = None
) -> Tensor:
    """`reference.zoo_conv` for CUDA tensors: one layer's mixed weights exist at a time, or none.

    `fused` mixes inside the convolution; None does so where maps are small.
    """
    size = geometry.output_size(tuple(x.shape[2:]), tuple(weights.shape[3:]))
    ordered = _taps_first(weights)
    if _fuse(fused, x.shape[2:], size):
        y = empty_like(x, weights.shape[1], size)
        mixed_convolve(x, ordered.permute(0, 4, 1, 2, 3), gates, y, geometry, gradient=False)
        return y
    return sample_conv(x, _mixed(ordered, gates, x.dtype), geometry)


def zoo_conv_backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    geometry: Geometry,
    *,
    input_grad: bool = True,
    fused: bool | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weights and gates; the weights are mixed again, not kept."""
    ordered = _taps_first(weights)
    if _fuse(fused, x.shape[2:], grad.shape[2:]):
        dx = empty_like(x, x.shape[1], tuple(x.shape[2:])) if input_grad else x.new_empty(0)
        if input_grad:
            mixed_convolve(grad, ordered.movedim(-1, 2), gates, dx, geometry, gradient=True)
        d_weights, d_gates = weight_and_gate_gradients(grad, x, ordered, gates, geometry)
    else:
        mixed = _mixed(ordered, gates, x.dtype)
        dx, d_mixed = sample_conv_backward(grad, x, mixed, geometry, input_grad=input_grad)
        del mixed
        d_weights, d_gates = aggregate_backward(d_mixed.movedim(2, -1), ordered, gates)
    return dx, d_weights.movedim(-1, 2).contiguous(), d_gates


def _fuse(asked: bool | None, *sizes: tuple[int, ...]) -> bool:
    largest = max(height * width for height, width in sizes)
    return largest <= FUSED_PIXELS if asked is None else asked


def _taps_first(weights: Tensor) -> Tensor:
    """`(M, O, I, h, w)` as contiguous `(M, O, h, w, I)`: a tap's input channels side by side."""
    return weights.movedim(2, -1).contiguous()


def _mixed(ordered: Tensor, gates: Tensor, dtype: torch.dtype) -> Tensor:
    return aggregate(ordered, gates, dtype).movedim(-1, 2)
