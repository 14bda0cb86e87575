"""Zoo-Tuning's convolutions on a GPU: interpreted where there is no GPU, and compiled for one."""

import pytest
import torch
from against_float64 import within_torchs_error
from torch.testing import assert_close

from hubfast.ops import reference
from hubfast.ops.reference import Geometry

pytest.importorskip("triton", reason="triton is not installed")


# in, out, kernel, stride, padding, dilation, size
CONVOLUTIONS = {
    "3x3": (5, 6, (3, 3), (1, 1), (1, 1), (1, 1), (5, 4)),
    "strided": (3, 17, (3, 2), (2, 1), (1, 0), (1, 1), (6, 5)),
    "dilated": (2, 3, (3, 3), (1, 2), (2, 2), (2, 2), (5, 7)),
    "1x1": (5, 7, (1, 1), (1, 1), (0, 0), (1, 1), (3, 3)),
    "1x1 strided": (4, 3, (1, 1), (2, 2), (0, 0), (1, 1), (5, 4)),
    "past a tile": (33, 65, (1, 1), (1, 1), (1, 0), (1, 1), (7, 9)),
}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_sample_conv_equals_reference(case, dtype, channels_last, device, monkeypatch):
    from hubfast.kernels.sample_conv import sample_conv
    from hubfast.kernels.sample_conv_backward import sample_conv_backward

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    inside, out, kernel, stride, padding, dilation, size = case
    geometry = Geometry(stride, padding, dilation)
    x = torch.randn(2, inside, *size, dtype=dtype, device=device)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(2, out, inside, *kernel, dtype=dtype, device=device) / inside**0.5
    y = sample_conv(x, weight, geometry)
    grad = torch.randn_like(y)
    ours = (y, *sample_conv_backward(grad, x, weight, geometry))

    def run(dtype):
        a, b = x.to(dtype), weight.to(dtype)
        dx, dw = reference.sample_conv_backward(grad.to(dtype), a, b, geometry)
        return reference.sample_conv(a, b, geometry), dx, dw

    for triple in zip(ours, run(dtype), run(torch.float64), strict=True):
        within_torchs_error(*triple)
    nothing, again = sample_conv_backward(grad, x, weight, geometry, input_grad=False)
    assert nothing.numel() == 0
    assert torch.equal(ours[2], again)


def test_sample_conv_takes_weights_in_torchs_order(device):
    from hubfast.kernels.sample_conv import sample_conv

    x = torch.randn(2, 3, 6, 6, device=device)
    weight = torch.randn(2, 4, 3, 3, 3, device=device)
    geometry = Geometry((1, 1), (1, 1), (1, 1))
    assert_close(sample_conv(x, weight, geometry), reference.sample_conv(x, weight, geometry))
