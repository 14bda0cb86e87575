"""Zoo-Tuning's convolution: each sample's mix of M models' weights, and its gradients.

Spec: `reference.zoo_conv`. A layer's mixed weights are written once, for `sample_conv`, with a
tap's input channels side by side.
"""

from hubfast.kernels.aggregate import aggregate, aggregate_backward
from hubfast.kernels.sample_conv import sample_conv
from hubfast.kernels.sample_conv_backward import sample_conv_backward
from torch import Tensor

from hubfast.ops.zoo_conv.geometry import Geometry


def zoo_conv(x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry) -> Tensor:
    """`reference.zoo_conv` for CUDA tensors: one layer's mixed weights exist at a time."""
    return sample_conv(x, aggregate(_taps_first(weights), gates, x.dtype), geometry)


def zoo_conv_backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    geometry: Geometry,
    *,
    input_grad: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weights and gates; the weights are mixed again, not kept."""
    ordered = _taps_first(weights)
    mixed = aggregate(ordered, gates, x.dtype)
    dx, d_mixed = sample_conv_backward(grad, x, mixed, geometry, input_grad=input_grad)
    del mixed
    d_weights, d_gates = aggregate_backward(d_mixed, ordered, gates)
    return dx, d_weights, d_gates


def _taps_first(weights: Tensor) -> Tensor:
    """`(M, O, I, h, w)` with a tap's input channels side by side; no copy where they are."""
    return weights.movedim(2, -1).contiguous().movedim(-1, 2)
