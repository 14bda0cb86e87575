"""Zoo-Tuning layers, gates and the choice of a form."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hubfast.ops import align as aligned
from hubfast.ops.zoo_conv.geometry import memory_order
from hubfast.zoo import (
    Gate,
    LiteGate,
    ZooConv1d,
    ZooConv2d,
    ZooConv3d,
    ZooLinear,
    ZooTuning,
    plan,
    planner,
)

PLAIN = {ZooConv1d: nn.Conv1d, ZooConv2d: nn.Conv2d, ZooConv3d: nn.Conv3d}


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1, "dilation": 2, "groups": 2},
        {"padding": "same", "bias": False},
        {"padding": 1, "padding_mode": "circular"},
    ],
)
def test_one_model_is_the_plain_layer(kind, options):
    layer = kind(1, 4, 6, 3, **options, gate="softmax")  # one gate: one
    plain = PLAIN[kind](4, 6, 3, **options)
    with torch.no_grad():
        plain.weight.copy_(layer.weights[0])
        if plain.bias is not None:
            plain.bias.copy_(layer.bias[0])
    x = torch.randn(2, 4, *(7,) * layer.dimensions)
    assert_close(layer(x), plain(x))


def test_linear_takes_rows_tokens_and_windows():
    layer = ZooLinear(2, 5, 3)
    for shape in [(4, 5), (4, 6, 5), (4, 2, 3, 5)]:
        x = torch.randn(shape)
        gates = layer.gate(x.reshape(4, -1, 5).mT)
        weight = torch.einsum("bm,moi->boi", gates, layer.weight)
        expected = x.reshape(4, -1, 5) @ weight.mT + (gates @ layer.bias)[:, None]
        assert_close(layer(x), expected.view(*shape[:-1], 3))
    tokens = torch.randn(2, 12, 5)
    layer.samples.count = 2  # six windows of two tokens each
    windows = layer(tokens.reshape(12, 2, 5))
    layer.samples.count = None
    assert_close(windows.reshape(2, 12, 3), layer(tokens))


@pytest.mark.parametrize("activation", ["softmax", "normalized"])
def test_gates_sum_to_one(activation):
    gate = Gate(6, 3, activation)
    nn.init.normal_(gate.select.weight)
    gates = gate(torch.randn(4, 6, 5, 5))
    assert_close(gates.sum(1), torch.ones(4))
    assert gates.std(0).min() > 0  # by sample


def test_gate_by_hand():
    gate = Gate(4, 1)  # 4 -> 2 -> 1
    with torch.no_grad():
        gate.squeeze.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0]]))
        gate.select.weight.copy_(torch.tensor([[2.0, 5.0]]))
        gate.select.bias.fill_(-1)
    x = torch.tensor([[1.0, 3.0, 0, 0]])[..., None] * torch.tensor([0.5, 1.5])  # means 1 and 3
    assert_close(gate(x), torch.tensor(1.0).sigmoid().view(1, 1))  # 2 relu(1) + 5 relu(-3) - 1


def test_lite_average_is_that_of_the_batches():
    gate = LiteGate(4, 2, momentum=0.1)
    assert_close(gate.eval()(torch.zeros(1, 4)), torch.full((1, 2), 0.5))
    nn.init.normal_(gate.select.weight)
    gate.train()
    first, second = (gate(torch.randn(8, 4, 3, 3)) for _ in range(2))
    assert not gate.average.requires_grad
    # weights 0.1 0.9 and 0.1, of 0.19 together
    expected = (0.09 * first + 0.1 * second) / 0.19
    assert_close(gate.eval()(torch.zeros(1, 4)), expected.detach())


@pytest.mark.parametrize("models", [1, 3])
def test_lite_layer_is_one_plain_layer(models):
    layer = ZooConv2d(models, 3, 8, 3, padding=1, align=True, lite=True)
    nn.init.normal_(layer.alignment)
    layer(torch.randn(4, 3, 6, 6)).sum().backward()
    x = torch.randn(2, 3, 6, 6)
    layer.eval()
    assert_close(layer(x), torch.conv2d(x, **layer.shared(), padding=1))
    with pytest.raises(TypeError, match="Lite"):
        ZooConv2d(models, 3, 8, 3).shared()


def test_folded_alignment_gives_the_same():
    layer = ZooConv2d(2, 4, 6, 3, groups=2, align=True)
    nn.init.normal_(layer.alignment)
    x = torch.randn(2, 4, 9, 9)
    before = layer(x)
    layer.fold_alignment()
    assert layer.alignment is None
    assert_close(layer(x), before)


def test_plan_follows_what_a_form_costs():
    wide = (512, 512, 3, 3)
    assert plan(16, 5, wide, 3136) == "mix"
    assert plan(16, 5, wide, 1) == "concatenate"
    assert plan(16, 5, wide, 1, aligned=True) == "separate"  # kernels of 9 x 512 need no product
    assert plan(16, 5, wide, 1, groups=2) == "mix"
    assert plan(1, 5, wide, 1) == "mix"


def test_plan_joins_narrow_inputs_on_a_gpu():
    stem = (64, 3, 7, 7)
    assert plan(48, 5, stem, 12544, device="cuda") == "concatenate"
    assert plan(48, 5, stem, 12544, device="cuda", aligned=True) == "concatenate"
    assert plan(48, 5, stem, 12544) == "mix"
    assert plan(48, 60, stem, 12544, device="cuda") == "mix"
    assert plan(48, 5, (64, 16, 3, 3), 12544, device="cuda") == "mix"
    assert plan(48, 5, (64, 1, 3, 3), 12544, groups=64, device="cuda") == "mix"


@pytest.mark.parametrize("weight", [(64, 16, 3, 3), (256, 64, 1, 1)])
def test_plan_keeps_mixed_weights_only_where_that_is_asked_for(weight):
    on_gpu = {"device": "cuda", "recompute": False}
    assert plan(48, 5, weight, 12544, device="cuda") == "mix"
    assert plan(48, 5, weight, 12544, **on_gpu) == "keep"
    assert plan(48, 5, weight, 12544, recompute=False) == "mix"  # a CPU mixes them in its cache
    assert plan(48, 5, weight, 1, **on_gpu) == "concatenate"
    # No kernel of ours convolves with groups, or multiplies tokens.
    assert plan(48, 5, weight, 12544, groups=2, **on_gpu) == "mix"
    assert plan(48, 5, weight[:2], 12544, **on_gpu) == "mix"


def test_plan_takes_what_was_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    measured = {"traffic": 1e6}
    monkeypatch.setattr(planner, "choices", lambda device, table: {"plan": measured}[table])
    assert plan(16, 5, (512, 512, 3, 3), 3136, device="cuda") == "concatenate"
    measured["traffic"] = 0
    assert plan(16, 5, (512, 512, 3, 3), 3136, device="cuda") == "mix"


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_channels_last_puts_the_channels_of_a_tap_side_by_side(align, groups):
    layer = ZooConv2d(3, 4, 6, (3, 2), padding=1, groups=groups, align=align)
    x = torch.randn(2, 4, 7, 7)
    expected = layer(x)
    expected.square().sum().backward()
    grad, weights, layer.weight.grad = layer.weight.grad, layer.weights.clone(), None
    layer.to(memory_format=torch.channels_last)
    if groups == 1:
        assert memory_order(layer.weights) == (0, 1, 3, 4, 2)
    assert torch.equal(layer.weights, weights)
    y = layer(x.contiguous(memory_format=torch.channels_last))
    assert_close(y, expected)
    y.square().sum().backward()
    assert_close(layer.weight.grad, grad, rtol=1e-4, atol=1e-4)
    assert layer.weight.grad.stride() == layer.weight.stride()
    if align:
        assert memory_order(aligned(layer.weights, layer.alignment)) == memory_order(layer.weights)


@pytest.mark.parametrize("kind", [ZooConv1d, ZooConv2d, ZooConv3d, ZooLinear])
def test_flat_weights_of_former_checkpoints_load(kind):
    more = () if kind is ZooLinear else (3,)
    layer, other = (kind(2, 4, 6, *more) for _ in range(2))
    former = layer.state_dict()
    former["weight"] = layer.weights.detach().flatten(2)
    other.load_state_dict(former)
    assert torch.equal(other.weights, layer.weights)
    wrong = {**former, "weight": former["weight"][:, :, :-1]}
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        other.load_state_dict(wrong)


def test_models_keep_their_memory_order():
    models = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2)) for _ in range(2)]
    for model in models:
        model.to(memory_format=torch.channels_last)
    (convolution,) = ZooTuning.from_models(models, 2).zoo_layers().values()
    assert memory_order(convolution.weights) == (0, 1, 3, 4, 2)
    assert torch.equal(convolution.weights[1], models[1][0].weight)


def test_mistakes_name_the_argument():
    with pytest.raises(ValueError, match="models must be at least 1"):
        ZooLinear(0, 3, 3)
    with pytest.raises(ValueError, match="gate must be one of"):
        ZooLinear(2, 3, 3, gate="hard")
    with pytest.raises(ValueError, match="out_channels must divide"):
        ZooConv2d(2, 4, 3, 1, groups=2)
