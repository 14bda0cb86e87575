"""All samples as groups of one convolution: what CUDA takes beside the kernels."""

from collections import Counter

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from hubfast.ops import backends, reference
from hubfast.ops.zoo_conv import grouped, op
from hubfast.ops.zoo_conv.geometry import Geometry, empty_like

# in, out, kernel, stride, padding, dilation, groups, size
CASES = {
    "groups": (4, 8, (3, 3), (2, 1), (1, 0), (1, 2), 2, (9, 7)),
    "depthwise": (4, 4, (3, 3), (1, 1), (1, 1), (1, 1), 4, (5, 6)),
    "1d": (4, 6, (3,), (2,), (1,), (1,), 1, (9,)),
    "3d": (3, 2, (2, 3, 1), (1, 2, 1), (1, 1, 0), (1, 1, 1), 1, (3, 5, 2)),
    "tokens": (5, 7, (1,), (1,), (0,), (1,), 1, (6,)),
    "one token": (5, 7, (1,), (1,), (0,), (1,), 1, (1,)),
    "1x1 strided": (4, 3, (1, 1), (2, 2), (0, 0), (1, 1), 1, (5, 4)),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


class Calls(TorchDispatchMode):
    """Counts the calls of torch's ops that compute or copy."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view:
            self.count[func._opname] += 1
        return func(*args, **(kwargs or {}))


def arguments(case, batch, dtype=torch.float64, channels_last=False):
    inside, out, kernel, stride, padding, dilation, groups, size = case
    x = torch.randn(batch, inside, *size, dtype=dtype)
    if channels_last:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    weights = torch.randn(2, out, inside // groups, *kernel, dtype=dtype)
    geometry = Geometry(stride, padding, dilation, groups)
    return x, weights, torch.rand(batch, 2, dtype=dtype), geometry


@pytest.mark.parametrize("channels_last", [False, True])
@cases
def test_values_and_gradients_are_the_reference(case, channels_last):
    *values, geometry = arguments(case, 3, channels_last=channels_last)
    x, weights, gates = (v.detach().clone().requires_grad_() for v in values)
    expected = reference.zoo_conv(x, weights, gates, geometry)
    y = grouped.forward(*values, geometry, "torch")
    assert_close(y, expected.detach())
    assert y.stride() == empty_like(values[0], y.shape[1], tuple(y.shape[2:])).stride()
    grad = torch.randn_like(y)
    gradients = torch.autograd.grad(expected, (x, weights, gates), grad)
    found = grouped.backward(grad, *values, geometry, "torch")
    assert_close(found, gradients)
    dx = empty_like(values[0], values[0].shape[1], tuple(values[0].shape[2:]))
    assert found[0].stride() == dx.stride()
    without = grouped.backward(grad, *values, geometry, "torch", input_grad=False)
    assert without[0].numel() == 0
    assert_close(without[1:], gradients[1:])


@cases
def test_calls_do_not_grow_with_the_batch(case):
    seen = []
    for batch in (2, 5):
        *values, geometry = arguments(case, batch)
        with Calls() as calls:
            y = grouped.forward(*values, geometry, "torch")
            grouped.backward(y, *values, geometry, "torch")
        seen.append(calls.count)
    assert seen[0] == seen[1]
    products = {k: n for k, n in seen[0].items() if k.startswith(("convolution", "bmm"))}
    assert products in ({"convolution": 1, "convolution_backward": 1}, {"bmm": 3})


def test_nothing_comes_out_of_no_samples():
    for case in CASES.values():
        x, weights, gates, geometry = arguments(case, 0)
        y = grouped.forward(x, weights, gates, geometry, "torch")
        assert y.shape == (0, *reference.zoo_conv(x, weights, gates, geometry).shape[1:])
        found = grouped.backward(y, x, weights, gates, geometry, "torch")
        assert_close(found, (x, torch.zeros_like(weights), gates))


@pytest.mark.parametrize("name", ["depthwise", "3d", "tokens"])
def test_the_op_takes_it_on_cuda_and_mixes_by_triton(name, monkeypatch):
    """On a CPU that says that it is CUDA, in Triton's interpreter."""
    pytest.importorskip("triton", reason="triton is not installed")
    from hubfast.kernels import aggregate as kernels

    def cuda(x, **found):
        return found.get("cuda", ())

    mixed = []
    into = kernels.aggregate_into
    monkeypatch.setattr(kernels, "aggregate_into", lambda *a: (mixed.append(a), into(*a)))
    monkeypatch.setattr(backends, "on_device", cuda)
    monkeypatch.setattr(op, "on_device", cuda)
    monkeypatch.setattr(op.native, "fits", lambda *_: False)
    x, weights, gates, geometry = arguments(CASES[name], 3, torch.float32)
    assert op._choose(None, x, weights, gates, geometry) == "grouped"
    how = dict(zip(("stride", "padding", "dilation", "groups"), geometry, strict=True))
    expected = reference.zoo_conv(x, weights, gates, geometry)
    assert_close(op.zoo_conv(x, weights, gates, **how), expected, rtol=1e-4, atol=1e-5)
    assert len(mixed) == 1
    op.zoo_conv(x, weights, gates, **how, backend="torch")
    assert len(mixed) == 1
    if name != "tokens":
        with pytest.raises(ValueError, match="backend must be one of"):
            op.zoo_conv(x, weights, gates, **how, backend="triton")
