"""Zoo-Tuning's Triton kernels: interpreted where there is no GPU, and compiled for one."""

import pytest
import torch
from compiled_kernels import compiled
from torch.testing import assert_close

from hubfast.ops import reference
from hubfast.ops.reference import Geometry

pytest.importorskip("triton", reason="triton is not installed")


def within_torchs_error(ours, torchs, exact):
    """Ours at most 1.5 times as far from float64 as torch's in the same dtype."""
    floor = 3 * torch.finfo(torchs.dtype).eps * exact.norm()  # torch may be right by luck
    limit = 1.5 * max((torchs.double() - exact).norm(), floor)
    assert (ours.double() - exact).norm() <= limit


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
    "strided": (3, 17, (3, 2), (2, 1), (1, 0), (1, 1), (6, 5)),
    "dilated": (2, 3, (3, 3), (1, 2), (2, 2), (2, 2), (5, 7)),
    "1x1": (5, 7, (1, 1), (1, 1), (0, 0), (1, 1), (3, 3)),
    "1x1 strided": (4, 3, (1, 1), (2, 2), (0, 0), (1, 1), (5, 4)),
    "past a tile": (33, 65, (1, 1), (1, 1), (1, 0), (1, 1), (7, 9)),
}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_zoo_conv_equals_reference(case, dtype, channels_last, fused, device, monkeypatch):
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

    y = zoo_conv(x, weights, gates, geometry, fused=fused)
    grad = torch.randn_like(y)
    how = {"fused": fused}
    ours = (y, *zoo_conv_backward(grad, x, weights, gates, geometry, **how))
    torchs, exact = run(dtype), run(torch.float64)
    for triple in zip(ours, torchs, exact, strict=True):
        within_torchs_error(*(v.detach() for v in triple))
    again = zoo_conv_backward(grad, x, weights, gates, geometry, input_grad=False, **how)
    assert again[0].numel() == 0
    assert all(torch.equal(a, b) for a, b in zip(ours[2:], again[1:], strict=True))


def test_fused_samples_past_a_group_and_one_model(device):
    from hubfast.kernels.zoo_conv import zoo_conv, zoo_conv_backward

    geometry = Geometry((1, 1), (1, 1), (1, 1))
    for samples, models in ((5, 1), (4, 5)):
        x = torch.randn(samples, 3, 4, 4, device=device)
        weights = torch.randn(models, 2, 3, 3, 3, device=device)
        gates = torch.rand(samples, models, device=device)
        grad = torch.randn(samples, 2, 4, 4, device=device)
        apart, fused = (
            (
                zoo_conv(x, weights, gates, geometry, fused=how),
                *zoo_conv_backward(grad, x, weights, gates, geometry, fused=how),
            )
            for how in (False, True)
        )
        for a, b in zip(fused, apart, strict=True):
            assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_sample_conv_takes_weights_in_torchs_order(device):
    from hubfast.kernels.sample_conv import sample_conv

    x = torch.randn(2, 3, 6, 6, device=device)
    weight = torch.randn(2, 4, 3, 3, 3, device=device)
    geometry = Geometry((1, 1), (1, 1), (1, 1))
    assert_close(sample_conv(x, weight, geometry), reference.sample_conv(x, weight, geometry))


def test_compiles_without_a_gpu(tmp_path):
    """For sm_90; benchmarks/kernel_resources.py compiles for three."""
    kernels = compiled(tmp_path, "zoo", capabilities=(90,))
    assert len(kernels) == 8
    for kernel in kernels:
        assert kernel["registers"] > 0, kernel
        assert kernel["shared"] <= 96 * 1024, kernel
        if kernel["name"].startswith("sample_conv"):  # Triton sees what 16 divides in the tuples.
            assert set(kernel["loads"]) == {"16"}, kernel
