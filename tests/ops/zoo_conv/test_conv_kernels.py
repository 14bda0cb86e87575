"""Zoo-Tuning's convolutions on a GPU: interpreted where there is no GPU."""

import pytest
import torch
from against_float64 import within_torchs_error
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from hubfast.ops import reference
from hubfast.ops.reference import Geometry

pytest.importorskip("triton", reason="triton is not installed")

# in, out, kernel, stride, padding, dilation, size
CONVOLUTIONS = {
    "3x3": (5, 6, (3, 3), (1, 1), (1, 1), (1, 1), (5, 4)),
    "strided": (3, 17, (3, 2), (2, 1), (1, 0), (1, 1), (6, 5)),
    "dilated": (2, 3, (3, 3), (1, 2), (2, 2), (2, 2), (5, 7)),
    "classes without taps": (2, 3, (2, 2), (3, 2), (0, 1), (1, 2), (7, 6)),
    "1x1": (5, 7, (1, 1), (1, 1), (0, 0), (1, 1), (3, 3)),
    "1x1 strided": (4, 3, (1, 1), (2, 2), (0, 0), (1, 1), (5, 4)),
    "1x1 padded": (4, 3, (1, 1), (1, 1), (1, 1), (1, 1), (3, 4)),
    "one of each": (1, 1, (1, 1), (1, 1), (0, 0), (1, 1), (1, 1)),
    "past a tile": (33, 65, (1, 1), (1, 1), (1, 0), (1, 1), (7, 9)),
}


@pytest.fixture(autouse=True)
def exact_products(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def tensors(case, dtype, channels_last, device, samples=2):
    inside, out, kernel, stride, padding, dilation, size = case
    geometry = Geometry(stride, padding, dilation)
    x = torch.randn(samples, inside, *size, dtype=dtype, device=device)
    weight = torch.randn(samples, out, *kernel, inside, dtype=dtype, device=device)
    weight = (weight / inside**0.5).movedim(-1, 2)
    grad_size = geometry.output_size(size, kernel)
    grad = torch.randn(samples, out, *grad_size, dtype=dtype, device=device)
    if channels_last:
        x, grad = (v.contiguous(memory_format=torch.channels_last) for v in (x, grad))
    return x, weight, grad, geometry


def ours(x, weight, grad, geometry, **options):
    from hubfast.kernels.sample_conv import sample_conv
    from hubfast.kernels.sample_conv_backward import sample_conv_backward

    y = sample_conv(x, weight, geometry)
    return y, *sample_conv_backward(grad, x, weight, geometry, **options)


def compare(results, x, weight, grad, geometry):
    def run(dtype):
        a, b = x.to(dtype), weight.to(dtype)
        dx, dw = reference.sample_conv_backward(grad.to(dtype), a, b, geometry)
        return reference.sample_conv(a, b, geometry), dx, dw

    for triple in zip(results, run(x.dtype), run(torch.float64), strict=True):
        within_torchs_error(*triple)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_sample_conv_equals_reference(case, dtype, channels_last, device):
    values = tensors(case, dtype, channels_last, device)
    results = ours(*values)
    compare(results, *values)
    assert results[0].stride() == values[2].stride()
    y, nothing, dw = ours(*values, input_grad=False)
    assert nothing.numel() == 0
    assert torch.equal(results[0], y)
    assert torch.equal(results[2], dw)


@st.composite
def convolutions(draw):
    """Any small convolution with a result."""

    def pair(low, high):
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    kernel, stride, padding, dilation = pair(1, 4), pair(1, 4), pair(0, 3), pair(1, 4)
    dimensions = zip(kernel, padding, dilation, strict=True)
    least = (max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in dimensions)
    size = tuple(n + draw(st.integers(0, 4)) for n in least)
    return (*pair(1, 3), kernel, stride, padding, dilation, size)


@settings(max_examples=20, deadline=None)
@given(convolutions(), st.booleans())
def test_any_stride_dilation_and_padding(case, channels_last):
    values = tensors(case, torch.float32, channels_last, "cpu", samples=1)
    compare(ours(*values), *values)


@pytest.mark.parametrize("tile", [(16, 16, 16, 4, 3), (16, 32, 16, 4, 2), (32, 16, 32, 4, 4)])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_tile_gives_the_same_values(tile, stride, device):
    """Small tiles: several of pixels, outputs and channels, and some that span taps."""
    from hubfast.kernels.sample_conv import convolve_into, input_gradient_into
    from hubfast.kernels.sample_conv_backward import weight_gradient_into
    from hubfast.kernels.tiles import Tile

    case = (17, 18, (3, 2), (stride, stride), (1, 1), (1, 1), (5, 7))
    x, weight, grad, geometry = tensors(case, torch.float32, True, device, samples=1)
    y, dx, dw = map(torch.empty_like, (grad, x, weight))
    chosen = {"tile": Tile(*tile)}
    convolve_into(x, weight, y, geometry, **chosen)
    input_gradient_into(grad, weight, dx, geometry, **chosen)
    weight_gradient_into(grad, x, dw, geometry, **chosen)
    compare((y, dx, dw), x, weight, grad, geometry)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_views_are_read_and_written_in_place(kernel, dtype, channels_last, device):
    """Crops and slices of the batch and of the channels; one weight that all samples share."""
    from hubfast.kernels.sample_conv import convolve_into, input_gradient_into
    from hubfast.kernels.sample_conv_backward import weight_gradient_into

    order = torch.channels_last if channels_last else torch.contiguous_format
    geometry = Geometry((1, 1), (kernel // 2,) * 2, (1, 1))

    def view(channels, height=5, width=4):
        whole = torch.randn(4, channels + 2, height + 2, width + 3, dtype=dtype, device=device)
        whole = whole.contiguous(memory_format=order)
        return whole, whole[1:3, 1:-1, 1:-1, 2:-1]

    def untouched(whole, part, before):
        changed = whole.clone()
        part_of_before = before[1:3, 1:-1, 1:-1, 2:-1]
        changed[1:3, 1:-1, 1:-1, 2:-1] = part_of_before
        return torch.equal(changed, before) and not torch.equal(part, part_of_before)

    (_, x), (whole_y, y), (_, grad), (whole_dx, dx) = map(view, (3, 4, 4, 3))
    weight = torch.randn(4, kernel, kernel, 3, dtype=dtype, device=device).movedim(-1, 1)
    weight = weight.expand(2, *weight.shape)
    whole_dw = torch.zeros(4, 4, 3, kernel, kernel, dtype=dtype, device=device)
    before = whole_y.clone(), whole_dx.clone()
    convolve_into(x, weight, y, geometry)
    input_gradient_into(grad, weight, dx, geometry)
    weight_gradient_into(grad, x, whole_dw[1:3], geometry)
    compare((y, dx, whole_dw[1:3]), x, weight, grad, geometry)
    assert untouched(whole_y, y, before[0])
    assert untouched(whole_dx, dx, before[1])
    assert not whole_dw[::3].any()


class Log(TorchDispatchMode):
    """Names of the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("case", ["1x1", "1x1 strided", "3x3"])
def test_nothing_is_copied_or_zeroed(case, channels_last, device, monkeypatch):
    values = tensors(CONVOLUTIONS[case], torch.float16, channels_last, device)
    # Left out here: with it torch.empty fills its memory.
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)
    if device == "cpu":  # Triton's interpreter moves memory by torch's operators.
        import hubfast.kernels.sample_conv as forward
        import hubfast.kernels.sample_conv_backward as backward

        for module, name in ((forward, "_convolve"), (backward, "_weight_gradient")):
            monkeypatch.setattr(module, name, Launches([]))
    with Log() as log:
        ours(*values)
    moving = {"copy_", "clone", "zero_", "fill_", "_to_copy", "contiguous", "zeros", "full"}
    assert not moving & set(log.names), log.names
    assert log.names.count("bmm") == (3 if case == "1x1" else 0)


class Launches:
    """Stands for a kernel, and notes its grids."""

    def __init__(self, grids):
        self.grids = grids

    def __getitem__(self, grid):
        self.grids.append(grid)
        return lambda *arguments, **options: None


def test_grids_take_more_samples_than_65535(monkeypatch):
    """CUDA limits all dimensions of a grid to 65,535 but the first."""
    import hubfast.kernels.sample_conv as forward
    import hubfast.kernels.sample_conv_backward as backward

    grids = []
    monkeypatch.setattr(forward, "_convolve", Launches(grids))
    monkeypatch.setattr(backward, "_weight_gradient", Launches(grids))
    x, weight = torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 2, 3, 3)
    many = (x.expand(70_000, -1, -1, -1), weight.expand(70_000, -1, -1, -1, -1))
    ours(*many, many[0], Geometry((1, 1), (1, 1), (1, 1)))
    assert len(grids) == 3
    assert all(len(grid) == 1 and grid[0] >= 70_000 for grid in grids)


def test_samples_past_32_bits_are_refused():
    from hubfast.kernels.taps import check_offsets

    wide = torch.empty(2, 1 << 20, 1 << 11, 1, device="meta")
    check_offsets(x=wide[:, :-1])
    with pytest.raises(ValueError, match=r"one sample of x must span under 2\^31 elements, got"):
        check_offsets(x=torch.empty(1, (1 << 31) + 1, 1, 1, device="meta"))


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("samples", "inside"), [(0, 3), (2, 0)])
def test_nothing_gives_nothing_or_zeros(samples, inside, dtype, kernel, device):
    """No samples give no rows; sums over no channels are zeros, as torch's convolutions are."""
    from hubfast.kernels.sample_conv import sample_conv
    from hubfast.kernels.sample_conv_backward import sample_conv_backward

    x = torch.randn(samples, inside, 4, 4, dtype=dtype, device=device)
    weight = torch.randn(samples, 5, inside, kernel, kernel, dtype=dtype, device=device)
    geometry = Geometry((1, 1), (kernel // 2,) * 2, (1, 1))
    y = sample_conv(x, weight, geometry)
    assert torch.equal(y, torch.zeros(samples, 5, 4, 4, dtype=dtype, device=device))
    dx, dw = sample_conv_backward(y, x, weight, geometry)
    assert (dx.shape, dw.shape) == (x.shape, weight.shape)
