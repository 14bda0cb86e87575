"""Zoo-Tuning's mixing of weights on a GPU: interpreted where there is none."""

import numpy as np
import pytest
import torch
from against_float64 import within_torchs_error
from torch.testing import assert_close

from hubfast.ops import reference
from hubfast.ops.reference import Geometry

pytest.importorskip("triton", reason="triton is not installed")


# models, samples, weights: one of each, no power of two, blocks and one past them, many models
SHAPES = [(1, 1, 1), (3, 5, 37), (4, 2, 1024), (5, 18, 513), (17, 33, 130), (64, 9, 70), (70, 3, 9)]
EMPTY = [(3, 4, 0), (3, 0, 5), (0, 4, 5), (0, 0, 0)]
DTYPES = [torch.float32, torch.float16]


def arguments(shape, weights_dtype, dtype, device, scale=1.0):
    models, samples, size = shape
    weights = torch.randn(models, size, device=device) * scale
    gates = torch.rand(samples, models, device=device)
    return weights.to(weights_dtype), gates, torch.randn(samples, size, dtype=dtype, device=device)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weights_dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_aggregate_equals_reference(shape, weights_dtype, dtype, device):
    from hubfast.kernels.aggregate import aggregate, aggregate_backward

    weights, gates, grad = arguments(shape, weights_dtype, dtype, device)
    wide = (weights.double(), gates.double())
    within_torchs_error(
        aggregate(weights, gates, dtype),
        reference.aggregate(weights, gates, dtype),
        reference.aggregate(*wide, torch.float64),
    )
    ours = aggregate_backward(grad, weights, gates)
    torchs = reference.aggregate_backward(grad, weights, gates)
    exact = reference.aggregate_backward(grad.double(), *wide)
    for triple in zip(ours, torchs, exact, strict=True):
        within_torchs_error(*triple)
    again = aggregate_backward(grad, weights, gates)
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))


@pytest.mark.parametrize("scale", [1e-2, 1e-4])
def test_float16_gradients_see_small_float32_weights(scale, device):
    """Taken as one float16 each, weights of 1e-4 would have an error of 2e-4."""
    from hubfast.kernels.aggregate import aggregate_backward

    weights, gates, grad = arguments((5, 20, 300), torch.float32, torch.float16, device, scale)
    _, ours = aggregate_backward(grad, weights, gates)
    exact = grad.double() @ weights.double().T
    assert (ours.double() - exact).norm() <= 1e-6 * exact.norm()


@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_nothing_sums_to_zeros(shape, device):
    from hubfast.kernels.aggregate import aggregate, aggregate_backward

    weights, gates, grad = arguments(shape, torch.float32, torch.float32, device)
    found = aggregate(weights, gates, torch.float16), *aggregate_backward(grad, weights, gates)
    expected = (
        reference.aggregate(weights, gates, torch.float16),
        *reference.aggregate_backward(grad, weights, gates),
    )
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, rtol=0, atol=0)


def test_results_lie_as_the_weights_do(device):
    from hubfast.kernels.aggregate import aggregate, aggregate_backward

    last = torch.randn(3, 4, 2, 5, 6, device=device).movedim(-1, 2)  # taps first
    gapped = torch.randn(3, 4, 6, 2, 10, device=device)[..., ::2]
    gates = torch.rand(2, 3, device=device)
    for weights, strides in ((last, (240, 60, 1, 30, 6)), (gapped, (240, 60, 10, 5, 1))):
        mixed = aggregate(weights, gates, weights.dtype)
        grad = torch.randn_like(mixed, memory_format=torch.contiguous_format)
        found = mixed, *aggregate_backward(grad, weights, gates)
        assert found[0].stride() == found[1].stride() == strides
        plain = weights.contiguous()
        expected = reference.aggregate(plain, gates, plain.dtype)
        assert_close(found, (expected, *reference.aggregate_backward(grad, plain, gates)))


def test_chunks_of_samples_add_up(device):
    from hubfast.kernels.aggregate import aggregate_backward, aggregate_backward_into

    weights, gates, grad = arguments((3, 11, 200), torch.float32, torch.float32, device)
    weights_grad, gates_grad = torch.full_like(weights, 7), torch.empty_like(gates)
    for first in range(0, 11, 4):
        part = slice(first, first + 4)
        aggregate_backward_into(
            grad[part], weights, gates[part], weights_grad, gates_grad[part], add=first > 0
        )
    assert_close((weights_grad, gates_grad), aggregate_backward(grad, weights, gates))


def test_offsets_pass_31_bits(device):
    """The last of three rows of 2^30 entries, of which one block is touched."""
    from hubfast.kernels import aggregate as kernels

    if device == "cuda":
        pytest.skip("memory is reserved here, not used")
    size = 2**30
    try:
        memory = [np.empty((3, size), np.float16) for _ in range(3)]
    except MemoryError:
        pytest.skip("no room to reserve 18 GiB")
    # The kernels get addresses only; the interpreter would copy all that a tensor says it has.
    weights, rows, weights_grad = (torch.from_numpy(m[0, :1]) for m in memory)
    gates, partial = torch.eye(3), torch.empty(1, 3, 3)
    memory[0][:, :512] = np.array([[1], [2], [3]])
    kernels._aggregate[(1, 1)](weights, gates, rows, 3, size, 3, MODELS=3, BLOCK=512)
    assert memory[1][:, :512].sum(1).tolist() == [512, 1024, 1536]
    sizes = {"MODELS": 16, "SAMPLES": 16, "WARPS": 4, "BLOCK": 64}
    how = {"ADD": False, "GATE_PARTS": 2, "WEIGHT_PARTS": 1}
    rest = (gates, weights_grad, partial, 3, 3, size)
    kernels._aggregate_backward[(1,)](rows, weights, *rest, **how, **sizes)
    assert memory[2][:, :256].sum(1).tolist() == [256, 512, 768]
    assert partial[0].diag().tolist() == [256, 1024, 2304]


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


@pytest.mark.parametrize("weights_dtype", [torch.float32, torch.float16])
def test_chunks_of_samples_give_the_same(weights_dtype, device):
    from hubfast.kernels.zoo_conv import zoo_conv, zoo_conv_backward

    geometry = Geometry((1, 1), (1, 1), (1, 1))
    x = torch.randn(5, 4, 4, 3, device=device).to(torch.float16)
    weights = torch.randn(2, 6, 4, 3, 3, device=device).to(weights_dtype)
    last = weights.movedim(2, -1).contiguous().movedim(-1, 2)
    gates = torch.rand(5, 2, device=device)
    grad = torch.randn(5, 6, 4, 3, device=device).to(torch.float16)
    whole = zoo_conv(x, weights, gates, geometry, chunk=5)
    gradients = zoo_conv_backward(grad, x, weights, gates, geometry, chunk=5)
    for chunk in (1, 2, 4, 8):
        assert torch.equal(zoo_conv(x, last, gates, geometry, chunk=chunk), whole)
        found = zoo_conv_backward(grad, x, last, gates, geometry, chunk=chunk)
        assert torch.equal(found[0], gradients[0])
        assert found[1].stride() == last.stride()
        assert found[1].dtype == weights_dtype
        assert_close(found[1:], gradients[1:])


def test_no_samples_have_no_gradients(device):
    from hubfast.kernels.zoo_conv import zoo_conv, zoo_conv_backward

    geometry = Geometry((1, 1), (0, 0), (1, 1))
    x, weights = torch.empty(0, 4, 5, 5, device=device), torch.randn(2, 6, 4, 3, 3, device=device)
    gates = torch.empty(0, 2, device=device)
    y = zoo_conv(x, weights, gates, geometry)
    assert y.shape == (0, 6, 3, 3)
    found = zoo_conv_backward(y, x, weights, gates, geometry)
    assert_close(found, (x, torch.zeros_like(weights), gates))
