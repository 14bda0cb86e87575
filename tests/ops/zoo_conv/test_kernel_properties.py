"""Zoo-Tuning's kernels against float64 for shapes, memory orders and dtypes that hypothesis draws.

Expected values are those of torch's own convolution of each sample and of plain products, with
autograd's gradients.
"""

import pytest
import torch
from drawn_tensors import DTYPES, ORDERS, drawn, laid_out, normal, within_rounding
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from hubfast.ops.reference import Geometry

pytest.importorskip("triton", reason="triton is not installed")


@pytest.fixture(autouse=True)
def full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@st.composite
def convolutions(draw):
    """Shapes of the images and of each sample's weights, and a geometry of a result."""

    def pair(least: int, most: int) -> tuple[int, int]:
        return draw(st.tuples(*[st.integers(least, most)] * 2))

    kernel, stride, padding, dilation = pair(1, 3), pair(1, 4), pair(0, 2), pair(1, 3)
    size = tuple(
        max(1, d * (k - 1) + 1 - 2 * p) + more
        for k, p, d, more in zip(kernel, padding, dilation, pair(0, 7), strict=True)
    )
    samples = draw(st.sampled_from((0, 1, 2, 3)))
    inside, out = (draw(st.sampled_from((1, 3, 8, 16, 17, 33, 70))) for _ in range(2))
    x, weight = (samples, inside, *size), (samples, out, inside, *kernel)
    return x, weight, Geometry(stride, padding, dilation)


def convolved(x: torch.Tensor, weight: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """torch's convolution of each sample with its own weights."""
    size = geometry.output_size(tuple(x.shape[2:]), tuple(weight.shape[3:]))
    stride, padding, dilation, _ = geometry
    ys = [conv2d(a, w, None, stride, padding, dilation) for a, w in zip(x, weight, strict=True)]
    return torch.stack(ys) if ys else x.new_empty(0, weight.shape[1], *size)


def with_gradients(grad, x, weight, geometry):
    """The convolution and both gradients, by autograd."""
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    y = convolved(x, weight, geometry)
    if not len(x):
        return y, torch.zeros_like(x), torch.zeros_like(weight)
    return y, *torch.autograd.grad(y, (x, weight), grad)


@drawn
@given(
    case=convolutions(),
    orders=st.tuples(*[st.sampled_from(ORDERS)] * 3),
    dtype=st.sampled_from(DTYPES),
    input_grad=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_sample_conv(case, orders, dtype, input_grad, seed):
    from hubfast.kernels.sample_conv import sample_conv
    from hubfast.kernels.sample_conv_backward import sample_conv_backward

    x_shape, weight_shape, geometry = case
    size = geometry.output_size(x_shape[2:], weight_shape[3:])
    y_shape = (x_shape[0], weight_shape[1], *size)
    exact = [
        laid_out(value, order)
        for value, order in zip(normal(seed, x_shape, weight_shape, y_shape), orders, strict=True)
    ]
    x, weight, grad = (
        laid_out(value.to(dtype), order) for value, order in zip(exact, orders, strict=True)
    )
    y = sample_conv(x, weight, geometry)
    dx, dw = sample_conv_backward(grad, x, weight, geometry, input_grad=input_grad)
    expected = with_gradients(exact[2], *exact[:2], geometry)
    summed = with_gradients(exact[2].abs(), exact[0].abs(), exact[1].abs(), geometry)
    if not input_grad:
        assert dx.numel() == 0
        dx = expected[1].to(dtype)
    for triple in zip((y, dx, dw), expected, summed, strict=True):
        within_rounding(*triple)
    again = sample_conv_backward(grad, x, weight, geometry)
    assert torch.equal(again[1], dw)


@drawn
@given(
    models=st.sampled_from((1, 2, 3, 5, 8, 17, 64)),
    samples=st.sampled_from((0, 1, 2, 7, 16, 33)),
    shape=st.sampled_from(((1,), (3,), (5, 7), (4, 3, 3, 2), (16, 33), (1025,), (0, 3))),
    orders=st.tuples(*[st.sampled_from(ORDERS)] * 3),
    dtypes=st.tuples(*[st.sampled_from(DTYPES)] * 2),
    seed=st.integers(0, 2**16),
)
def test_aggregate(models, samples, shape, orders, dtypes, seed):
    from hubfast.kernels.aggregate import aggregate, aggregate_backward

    shapes = ((models, *shape), (samples, models), (samples, *shape))
    exact = [
        laid_out(value, order) for value, order in zip(normal(seed, *shapes), orders, strict=True)
    ]
    weights, gates, grad = (
        laid_out(value.to(dtype), order)
        for value, order, dtype in zip(
            exact, orders, (dtypes[0], torch.float32, dtypes[1]), strict=True
        )
    )

    def products(weights, gates, grad):
        rows, mixed = weights.flatten(1), grad.flatten(1)
        return (
            (gates @ rows).view(grad.shape),
            (gates.T @ mixed).view(weights.shape),
            mixed @ rows.T,
        )

    found = (aggregate(weights, gates, dtypes[1]), *aggregate_backward(grad, weights, gates))
    assert [one.dtype for one in found] == [dtypes[1], dtypes[0], torch.float32]
    expected, summed = products(*exact), products(*(one.abs() for one in exact))
    for triple in zip(found, expected, summed, strict=True):
        within_rounding(*triple)
    again = aggregate_backward(grad, weights, gates)
    assert all(torch.equal(a, b) for a, b in zip(found[1:], again, strict=True))
