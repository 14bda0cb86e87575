"""The native convolution with mixed weights: any shape, against the float64 reference; `make
sanitize` runs this file on a checked build, which also has no clones for wide registers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from hubfast.ops import reference, zoo_conv
from hubfast.ops.backends import missing
from hubfast.ops.reference import Geometry
from hubfast.ops.zoo_conv import blocked, native

pytestmark = pytest.mark.skipif(missing("native") is not None, reason="no native core")

PLAIN = Geometry((1, 1), (0, 0), (1, 1))
SAME = Geometry((1, 1), (1, 1), (1, 1))


def arguments(samples, models, rows, channels, size, kernel, dtype=torch.float32):
    generator = torch.Generator().manual_seed(rows * channels + size[0])

    def normal(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    return (
        normal(samples, channels, *size),
        normal(models, rows, channels, *kernel),
        normal(samples, models),
    )


def expected(grad, x, weights, gates, geometry):
    """y and the gradients of x, weights and gates, by autograd in float64."""
    values = [v.double().requires_grad_() for v in (x, weights, gates)]
    y = reference.zoo_conv(*values, geometry)
    return y.detach(), *torch.autograd.grad(y, values, grad.double())


def computed(grad, x, weights, gates, geometry, module=native):
    y = module.forward(x, weights, gates, geometry)
    return y, *module.backward(grad, x, weights, gates, geometry)


def grad_of(x, weights, geometry):
    size = geometry.output_size(tuple(x.shape[2:]), tuple(weights.shape[3:]))
    return torch.randn(len(x), weights.shape[1], *size)


def test_by_hand():
    x = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])
    weights = torch.tensor([[[[[1.0]]]], [[[[10.0]]]]])
    gates = torch.tensor([[1.0, 0.5], [0.0, 2.0]])  # W_b = 6, 20
    y, dx, d_weights, d_gates = computed(torch.ones(2, 1, 1, 2), x, weights, gates, PLAIN)
    assert y.flatten().tolist() == [6, 12, 60, 80]
    assert dx.flatten().tolist() == [6, 6, 20, 20]
    assert d_weights.flatten().tolist() == [3, 1.5 + 14]  # sums of x: 3, 7
    assert d_gates.tolist() == [[3, 30], [7, 70]]


# Tiles are of 6 rows and 64 pixels, vectors of 16; blocks of 126 rows and 256 steps; 4 samples.
sizes = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 20, 65]))
counts = st.one_of(st.integers(1, 9), st.sampled_from([17, 31, 65, 127, 133]))
sides = st.tuples(
    st.integers(1, 5), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2), st.integers(0, 9)
)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 11), counts, counts, sides, sides, st.booleans())
def test_any_shape(samples, models, rows, channels, tall, wide, flat):
    used = [wide] if flat else [tall, wide]
    kernel, stride, padding, dilation, more = zip(*used, strict=True)
    least = [
        max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation, strict=True)
    ]
    size = [n + m for n, m in zip(least, more, strict=True)]
    geometry = Geometry(stride, padding, dilation)
    x, weights, gates = arguments(samples, models, rows, min(channels, 40), size, kernel)
    grad = grad_of(x, weights, geometry)
    for found, right in zip(
        computed(grad, x, weights, gates, geometry),
        expected(grad, x, weights, gates, geometry),
        strict=True,
    ):
        assert_close(found.double(), right, rtol=1e-4, atol=2e-5 * right.abs().max().item())


@pytest.mark.parametrize("pixels", [1, 15, 18, 35, 49, 68, 196, 300])
@pytest.mark.parametrize("inner", [7, 256, 300, 530])
def test_products_longer_than_a_block(inner, pixels):
    x, weights, gates = arguments(5, 3, 257, inner, (1, pixels), (1, 1))
    grad = grad_of(x, weights, PLAIN)
    right = expected(grad, x, weights, gates, PLAIN)
    for a, b in zip(computed(grad, x, weights, gates, PLAIN), right, strict=True):
        assert_close(a.double(), b, rtol=1e-4, atol=2e-5 * b.abs().max().item())


@pytest.mark.parametrize("shape", [(4, 5, 64, 64, (14, 14), 3), (4, 5, 128, 512, (7, 7), 1)])
def test_errors_are_no_larger_than_torchs(shape):
    samples, models, rows, channels, size, k = shape
    x, weights, gates = arguments(samples, models, rows, channels, size, (k, k))
    geometry = SAME if k == 3 else PLAIN
    grad = grad_of(x, weights, geometry)
    given_ = (grad, x, weights, gates, geometry)
    for ours, torchs, right in zip(
        computed(*given_), computed(*given_, module=blocked), expected(*given_), strict=True
    ):
        assert (ours - right).norm() <= 1.5 * (torchs - right).norm() + 1e-7 * right.norm()


def test_threads_change_nothing():
    x, weights, gates = arguments(5, 5, 70, 33, (9, 9), (3, 3))
    grad = grad_of(x, weights, SAME)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            found.append(computed(grad, x, weights, gates, SAME))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_what_is_not_a_number_stays_where_it_belongs():
    x, weights, gates = arguments(3, 2, 20, 17, (5, 5), (3, 3))
    weights[1, 7, 16, 2, 2] = torch.nan  # the last entry of a row: vectors read past it
    y = native.forward(x, weights, gates, SAME)
    assert y.isnan().any(0).any(-1).any(-1).nonzero().flatten().tolist() == [7]


def test_kernels_are_taken_as_far_as_the_core_does():
    from hubfast import _native

    assert native.MOST_TAPS == _native.MOST_TAPS


def test_input_gradient_is_left_out():
    x, weights, gates = arguments(2, 2, 3, 4, (5, 5), (3, 3))
    grad = grad_of(x, weights, SAME)
    dx, *others = native.backward(grad, x, weights, gates, SAME, input_grad=False)
    assert dx.numel() == 0
    _, _, *right = computed(grad, x, weights, gates, SAME)
    assert all(torch.equal(a, b) for a, b in zip(others, right, strict=True))


def test_strided_arguments():
    x, weights, gates = arguments(3, 4, 6, 5, (6, 7), (3, 3))
    x, weights, gates = x.mT, weights.transpose(0, 1), gates.expand(4, 3, 4)[0]
    weights = weights[:4].transpose(0, 1)  # (M, 4, ...)
    grad = grad_of(x, weights, SAME).mT.contiguous().mT
    right = expected(grad, x, weights, gates, SAME)
    for a, b in zip(computed(grad, x, weights, gates, SAME), right, strict=True):
        assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


def test_refused_where_it_does_not_run():
    x, weights, gates = arguments(2, 2, 4, 4, (5, 5), (3, 3))
    last = x.contiguous(memory_format=torch.channels_last)
    zoo_conv(x, weights, gates, backend="native")
    for refused, groups in (
        ((x.double(), weights.double(), gates.double()), 1),
        ((last, weights, gates), 1),
        ((x, weights[:, :, :2], gates), 2),
    ):
        with pytest.raises(ValueError, match=r"backend must be one of \['torch'\].*got 'native'"):
            zoo_conv(*refused, groups=groups, backend="native")
