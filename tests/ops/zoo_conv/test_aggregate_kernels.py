"""Zoo-Tuning's mixing of weights on a GPU: interpreted where there is none."""

import pytest
import torch
from against_float64 import within_torchs_error

from hubfast.ops import reference
from hubfast.ops.reference import Geometry

pytest.importorskip("triton", reason="triton is not installed")


# models, samples, weights: one of each, no power of two, a block, one past a block
SHAPES = [(1, 1, 1), (3, 5, 37), (4, 2, 1024), (5, 9, 513)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_aggregate_equals_reference(shape, dtype, device):
    from hubfast.kernels.aggregate import aggregate, aggregate_backward

    models, samples, size = shape
    weights = torch.randn(models, size, dtype=dtype, device=device)
    gates = torch.rand(samples, models, device=device)
    grad = torch.randn(samples, size, dtype=dtype, device=device)
    wide = (weights.double(), gates.double())
    within_torchs_error(
        aggregate(weights, gates, dtype),
        reference.aggregate(weights, gates.to(dtype), dtype),
        reference.aggregate(*wide, torch.float64),
    )
    ours = aggregate_backward(grad, weights, gates)
    torchs = reference.aggregate_backward(grad, weights, gates)
    exact = reference.aggregate_backward(grad.double(), *wide)
    for triple in zip(ours, torchs, exact, strict=True):
        within_torchs_error(*triple)
    again = aggregate_backward(grad, weights, gates)
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))


# in, out, kernel, stride, padding, dilation, size
CONVOLUTIONS = {
    "3x3": (5, 6, (3, 3), (1, 1), (1, 1), (1, 1), (5, 4)),
    "1x1 strided": (4, 3, (1, 1), (2, 2), (0, 0), (1, 1), (5, 4)),
}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_zoo_conv_equals_reference(case, dtype, channels_last, device, monkeypatch):
    from hubfast.kernels.zoo_conv import zoo_conv, zoo_conv_backward

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    inside, out, kernel, stride, padding, dilation, size = case
    geometry = Geometry(stride, padding, dilation)
    x = torch.randn(2, inside, *size, dtype=dtype, device=device)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    weights = torch.randn(3, out, inside, *kernel, device=device) / inside**0.5
    gates = torch.rand(2, 3, device=device)

    def run(dtype):
        values = [v.to(dtype).detach().requires_grad_() for v in (x, weights, gates)]
        y = reference.zoo_conv(*values, geometry)
        return y, *torch.autograd.grad(y, values, grad.to(dtype))

    y = zoo_conv(x, weights, gates, geometry)
    grad = torch.randn_like(y)
    ours = (y, *zoo_conv_backward(grad, x, weights, gates, geometry))
    torchs, exact = run(dtype), run(torch.float64)
    for triple in zip(ours, torchs, exact, strict=True):
        within_torchs_error(*(v.detach() for v in triple))
    again = zoo_conv_backward(grad, x, weights, gates, geometry, input_grad=False)
    assert again[0].numel() == 0
    assert all(torch.equal(a, b) for a, b in zip(ours[2:], again[1:], strict=True))
