"""What `ops.sample_conv` asks of its arguments, and what it makes of none and of autocast."""

import pytest
import torch
from torch.testing import assert_close

from hubfast import ops


def test_another_dtype_is_refused():
    x, weight = torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 3, 1, 1, dtype=torch.bfloat16)
    with pytest.raises(TypeError, match=r"weight must be torch.float32 as x is, got torch.bfl"):
        ops.sample_conv(x, weight)


def test_autocast_lowers_both():
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    weight = torch.randn(2, 5, 3, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = ops.sample_conv(x, weight.bfloat16(), padding=(1, 1))
        assert torch.equal(y, ops.sample_conv(x, weight, padding=(1, 1)))
    assert y.dtype == torch.bfloat16
    assert_close(y.float(), ops.sample_conv(x, weight, padding=(1, 1)), rtol=0.05, atol=0.1)
    grads = torch.autograd.grad(y.float().sum(), (x, weight))
    assert [g.dtype for g in grads] == [torch.float32] * 2


@pytest.mark.parametrize(("size", "padding"), [((2, 5), 0), ((0, 5), 1)])
def test_a_result_without_pixels_is_refused(size, padding):
    x, weight = torch.zeros(2, 3, *size), torch.zeros(2, 4, 3, 3, 3)
    with pytest.raises(ValueError, match=r"weight's taps must fit into the padded x, got a kern"):
        ops.sample_conv(x, weight, padding=(padding, padding))


@pytest.mark.parametrize(("samples", "inside"), [(0, 3), (2, 0)])
def test_nothing_gives_nothing_or_zeros(samples, inside):
    x = torch.zeros(samples, inside, 5, 5, requires_grad=True)
    weight = torch.zeros(samples, 4, inside, 3, 3, requires_grad=True)
    y = ops.sample_conv(x, weight, padding=(1, 1))
    assert torch.equal(y, torch.zeros(samples, 4, 5, 5))
    grads = torch.autograd.grad(y.sum(), (x, weight))
    assert [g.shape for g in grads] == [x.shape, weight.shape]
