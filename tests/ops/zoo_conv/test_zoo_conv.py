"""The ops of Zoo-Tuning: against the float64 reference, by hand, and as torch's tools see them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck
from torch.testing import assert_close

from hubfast import ops
from hubfast.ops import reference
from hubfast.ops.reference import Geometry
from hubfast.ops.zoo_conv import forms

# in, out, kernel, stride, padding, dilation, groups, size: small and large maps, 1x1, grouped
CASES = {
    "small map": (3, 4, 3, 1, 1, 1, 1, 6),
    "one pixel": (2, 3, 3, 1, 0, 1, 1, 3),
    "large map": (3, 5, 7, 2, 3, 1, 1, 33),
    "1x1": (4, 6, 1, 1, 0, 1, 1, 5),
    "1x1 strided": (4, 6, 1, 2, 0, 1, 1, 5),
    "dilated groups": (4, 8, 3, 2, 1, 2, 2, 9),
    "depthwise": (4, 4, 3, 1, 1, 1, 4, 13),
}


def arguments(case, batch=3, models=2, dtype=torch.float64, channels_last=False):
    inside, out, k, s, p, d, groups, size = case
    x = torch.randn(batch, inside, size, size, dtype=dtype)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    weights = torch.randn(models, out, inside // groups, k, k, dtype=dtype)
    gates = torch.rand(batch, models, dtype=dtype)
    bias = torch.randn(models, out, dtype=dtype)
    alignment = torch.randn(models, out, out // groups, dtype=dtype)
    values = [v.requires_grad_() for v in (x, weights, gates, bias, alignment)]
    return values, Geometry((s, s), (p, p), (d, d), groups)


def by_hand(geometry):
    return dict(zip(("stride", "padding", "dilation", "groups"), geometry, strict=True))


def test_two_models_by_hand():
    weights = torch.tensor([[[[1.0]]], [[[10.0]]]])  # 1 -> 1 channel
    gates = torch.tensor([[1.0, 0.5], [0.0, 2.0]])
    assert ops.aggregate(weights, gates).flatten().tolist() == [6, 20]
    x = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    bias = torch.tensor([[1.0], [2.0]])
    y = ops.zoo_conv(x, weights, gates, bias)
    assert y.flatten().tolist() == [8, 14, 64, 84]


def test_alignment_mixes_output_channels_of_a_group():
    weights = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    swap = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])  # two groups of two
    assert ops.align(weights, swap).flatten().tolist() == [2, 1, 3, 4]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("models", [1, 3])
def test_shared_gates_align_and_mix_in_one_product(models, groups):
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    weights = torch.randn(models, 6, 4 // groups, 3, 3, dtype=torch.float64)
    alignment = torch.randn(models, 6, 6 // groups, dtype=torch.float64)
    values = [v.requires_grad_() for v in (x, weights, torch.rand(1, models).double(), alignment)]
    y = ops.zoo_conv(*values[:3], None, alignment, groups=groups)
    wide = values[2].expand(2, models)
    geometry = Geometry((1, 1), (0, 0), (1, 1), groups)
    expected = reference.zoo_conv(x, weights, wide, geometry, None, alignment)
    assert_close(y, expected)
    grad = torch.randn_like(y)
    found = torch.autograd.grad(y, values, grad)
    for a, b in zip(found, torch.autograd.grad(expected, values, grad), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("form", ["mix", "keep", "concatenate", "separate"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_zoo_conv_equals_reference(case, form, channels_last):
    if case[6] > 1 and form not in ("mix", "keep"):
        pytest.skip("one group only")
    values, geometry = arguments(case, channels_last=channels_last)
    y = ops.zoo_conv(*values, **by_hand(geometry), form=form)
    x, weights, gates, bias, alignment = values
    expected = reference.zoo_conv(x, weights, gates, geometry, bias, alignment)
    assert_close(y, expected)
    grad = torch.randn_like(expected)
    found = torch.autograd.grad(y, values, grad)
    for a, b in zip(found, torch.autograd.grad(expected, values, grad), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("channels_last", [False, True])
def test_channels_of_zeros_change_nothing(channels_last):
    (x, weights, *_), geometry = arguments(CASES["small map"], channels_last=channels_last)
    padded = forms._padded(x, weights[0], 8)
    assert [v.shape[1] for v in padded] == [8, 8]
    assert padded[0].stride(1) == x.stride(1) or not channels_last
    assert_close(forms.dense(*padded, geometry), forms.dense(x, weights[0], geometry))
    assert forms._padded(x, weights[0], 3)[0] is x


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("dimensions", [1, 3])
def test_other_dimensions_and_shared_gates(dimensions, rows):
    size, ones = (5, 6, 4)[:dimensions], (1,) * dimensions
    x = torch.randn(3, 4, *size, dtype=torch.float64)
    weights = torch.randn(2, 6, 4, *(3,) * dimensions, dtype=torch.float64)
    gates = torch.rand(rows, 2, dtype=torch.float64)
    y = ops.zoo_conv(x, weights, gates, padding=ones)
    geometry = Geometry(ones, ones, ones)
    assert_close(y, reference.zoo_conv(x, weights, gates.expand(3, 2), geometry))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_sample_conv_equals_a_convolution_a_sample(case):
    (x, weights, *_), geometry = arguments(case, models=3)
    y = ops.sample_conv(x, weights, **by_hand(geometry))
    expected = torch.cat(
        [
            torch.conv2d(x[b : b + 1], weights[b], None, *geometry[:3], geometry.groups)
            for b in range(3)
        ]
    )
    assert_close(y, expected)
    grad = torch.randn_like(y)
    found = torch.autograd.grad(y, (x, weights), grad)
    for a, b in zip(found, torch.autograd.grad(expected, (x, weights), grad), strict=True):
        assert_close(a, b)


def test_gradients():
    values, geometry = arguments(CASES["small map"], batch=2)
    x, weights, gates, *_ = values
    options = {"fast_mode": True}
    assert torch.autograd.gradcheck(ops.aggregate, (weights, gates), **options)
    how = by_hand(geometry)
    convolve = lambda x, w: ops.sample_conv(x, w, **how)  # noqa: E731
    assert torch.autograd.gradcheck(convolve, (x, weights), **options)
    mixed = lambda *v: ops.zoo_conv(*v, **how)  # noqa: E731
    assert torch.autograd.gradcheck(mixed, values, **options)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's own
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", ["small map", "1x1 strided", "depthwise"])
def test_opcheck(name, channels_last):
    (x, weights, gates, *_), geometry = arguments(
        CASES[name], dtype=torch.float32, channels_last=channels_last
    )
    how = (*map(list, geometry[:3]), geometry.groups, "torch")
    last = weights.detach().movedim(2, -1).contiguous().movedim(-1, 2).requires_grad_()
    for lying in (weights, last):
        opcheck(torch.ops.hubfast.zoo_conv, (x, lying, gates, *how))
        opcheck(torch.ops.hubfast.aggregate, (lying, gates, torch.float32, "torch"))
    opcheck(torch.ops.hubfast.zoo_conv, (x, last.detach().half(), gates, *how))
    each = torch.randn(3, *weights.shape[1:], requires_grad=True)
    opcheck(torch.ops.hubfast.sample_conv, (x, each, *how))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(3, 12),
    st.booleans(),
)
def test_one_model_with_gate_one_is_a_convolution(batch, channels, kernel, stride, pad, size, last):
    x = torch.randn(batch, channels, size, size, dtype=torch.float64)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(3, channels, kernel, kernel, dtype=torch.float64)
    gates = torch.ones(batch, 1, dtype=torch.float64)
    options = {"stride": (stride, stride), "padding": (pad, pad)}
    y = ops.zoo_conv(x, weight[None], gates, **options)
    assert_close(y, torch.conv2d(x, weight, **options))


@pytest.mark.parametrize("name", ["small map", "large map", "1x1"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_error_is_that_of_torch(name, dtype):
    """Against float64 on the same rounded inputs, beside the grouped form in the same dtype."""
    (x, weights, gates, *_), geometry = arguments(CASES[name], batch=4, dtype=torch.float32)
    x = x.to(dtype).detach()
    exact = reference.zoo_conv(x.double(), weights.double(), gates.double(), geometry)
    ours = ops.zoo_conv(x, weights, gates, **by_hand(geometry)).double()
    kernels = torch.einsum("bm,moijk->boijk", gates, weights).flatten(0, 1).to(dtype)
    rival = torch.conv2d(x.flatten(0, 1)[None], kernels, None, *geometry[:3], len(x))
    limit = 1.5 * (rival.view_as(exact).double() - exact).norm()
    assert (ours - exact).norm() <= limit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gates": torch.rand(3, 4)}, "gates must be"),
        ({"weights": torch.rand(2, 4, 5, 3, 3)}, "weights must be"),
        ({"weights": torch.rand(2, 4, 3, 6, 3)}, "weights must have kernels within"),
        ({"stride": (1,)}, "stride must have 2 integers"),
        ({"form": "fused"}, "form must be one of"),
        ({"backend": "scipy"}, "backend must be one of"),
    ],
)
def test_mistakes_name_the_argument(change, message):
    fine = {"x": torch.rand(3, 3, 5, 5), "weights": torch.rand(2, 4, 3, 3, 3)}
    with pytest.raises(ValueError, match=message):
        ops.zoo_conv(**{**fine, "gates": torch.rand(3, 2), **change})
