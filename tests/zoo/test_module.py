"""Whole networks: conversion, folding, and what users do with them."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.testing import assert_close
from zoo_networks import SMALL, NatureCNN, small, spread

from hubfast.profiling.counts import multiply_adds, parameters
from hubfast.zoo import ZooTuning, load_backbone


@pytest.mark.parametrize("lite", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_timm_models_train_and_fold(name, lite):
    models = small(name)
    zoo = spread(ZooTuning.from_models(models, 5, lite=lite)).train()
    images = torch.rand(3, 3, 32, 32)
    zoo(images).sum().backward()
    assert [n for n, p in zoo.named_parameters() if p.grad is None] == []
    assert zoo.averaged == ()
    zoo.eval()
    expected = zoo(images)
    assert expected.shape == (3, 5)
    folded = zoo.fold()
    assert_close(zoo(images), expected, rtol=0, atol=0)  # untouched
    if lite:
        assert type(folded) is type(models[0])
        assert list(folded.state_dict()) == list(models[0].state_dict())
        assert_close(folded(zoo.normalize(images)), expected, rtol=1e-5, atol=1e-5)
    else:
        assert all(layer.alignment is None for layer in folded.zoo_layers().values())
        assert_close(folded(images), expected, rtol=1e-5, atol=1e-5)


def test_samples_do_not_see_each_other():
    zoo = spread(ZooTuning.from_models(small("swin_tiny_patch4_window7_224"), 5)).eval()
    images = torch.rand(3, 3, 32, 32)
    together = zoo(images)
    apart = torch.cat([zoo(image[None]) for image in images])
    assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_equal_models_with_normalised_gates_are_that_model():
    model = timm.create_model("test_resnet", num_classes=3).eval()
    zoo = ZooTuning.from_models([model] * 3, gate="normalized", running_stats="mean").eval()
    images = torch.rand(2, 3, 32, 32)
    assert_close(zoo(images), model(zoo.normalize(images)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gate", ["sigmoid", "softmax", "normalized"])
@pytest.mark.parametrize("lite", [False, True])
def test_prior_is_where_gates_and_means_start(gate, lite):
    models = small(count=3)
    for model in models:
        nn.init.normal_(model.bn1.weight)
    options = {"gate": gate, "lite": lite, "running_stats": "mean"}
    zoo = ZooTuning.from_models(models, 4, prior=[3.0, 1.0, 0.0], **options).eval()
    norms = [m.bn1.weight for m in models]
    mean = (norms[0] + norms[1] / 3 + 0.01 * norms[2]) / (4 / 3 + 0.01)
    assert_close(zoo.network.bn1.weight, mean)
    for layer in zoo.zoo_layers().values():
        gates = layer.gate(torch.randn(5, layer.gate.squeeze.in_features)).detach()
        assert gates.shape == (1 if lite else 5, 3)
        found = gates.mean(0) / gates.mean(0)[0]
        assert_close(found, torch.tensor([1.0, 1 / 3, 0.01]), rtol=1e-5, atol=0)
        wanted = {"sigmoid": 0.5, "softmax": 1 / (4 / 3 + 0.01), "normalized": 1 / (4 / 3 + 0.01)}
        assert float(gates[0, 0]) == pytest.approx(wanted[gate], rel=1e-5)


def test_equal_prior_is_the_published_start():
    models, x = small(), torch.rand(4, 3, 32, 32)
    outputs = []
    for prior in (None, [2.0, 2.0]):
        torch.manual_seed(0)
        outputs.append(ZooTuning.from_models(models, 4, prior=prior)(x))
    assert_close(*outputs)


@pytest.mark.parametrize("prior", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")]])
def test_bad_prior_is_named(prior):
    with pytest.raises(ValueError, match="prior must be 2 weights"):
        ZooTuning.from_models(small(), 4, prior=prior)


def test_torchvision_resnet_and_where_weights_are_read_not_called():
    zoo = ZooTuning.from_models([torchvision.models.resnet18() for _ in range(2)], 4)
    assert zoo(torch.rand(2, 3, 32, 32)).shape == (2, 4)
    assert isinstance(zoo.network.fc, nn.Linear)
    aligned = [n for n, m in zoo.zoo_layers().items() if m.alignment is not None]
    assert aligned[0] == "conv1"
    assert {n[:6] for n in aligned[1:]} == {"layer3", "layer4"}
    vit = [
        torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=3) for _ in range(2)
    ]
    zoo = ZooTuning.from_models(vit, 4)
    assert all("self_attention" in name for name in zoo.averaged)
    assert len(zoo.averaged) == 2
    assert zoo(torch.rand(2, 3, 32, 32)).shape == (2, 4)


def test_plain_network_for_reinforcement_learning():
    agents = [NatureCNN(actions) for actions in (6, 4, 18)]
    zoo = spread(ZooTuning.from_models(agents, heads={"9": nn.Linear(512, 5)}, lite=True)).train()
    frames = torch.rand(2, 4, 84, 84)
    assert zoo(frames).shape == (2, 5)
    zoo.eval()
    assert_close(zoo.fold()(frames), zoo(frames), rtol=1e-5, atol=1e-5)
    assert {layer.gate.activation for layer in zoo.zoo_layers().values()} == {"softmax"}


def test_what_is_no_layer_is_averaged():
    first, second = small()
    with torch.no_grad():
        for value, model in ((1.0, first), (3.0, second)):
            model.bn1.weight.fill_(value)
            model.bn1.running_mean.fill_(value)
    reset = ZooTuning.from_models([first, second], 5).network.bn1
    kept = ZooTuning.from_models([first, second], 5, running_stats="mean").network.bn1
    assert (reset.weight == 2).all()
    assert (reset.running_mean == 0).all()
    assert (kept.running_mean == 2).all()


def test_mismatch_names_the_first_parameter():
    models = [*small(), timm.create_model("test_resnet", num_classes=3, channels=(32, 48, 48, 40))]
    with pytest.raises(ValueError, match=r"layer4\S* is \(.*models\[0\].*models\[2\]"):
        ZooTuning.from_models(models, 5)
    with pytest.raises(ValueError, match=r"models must be at least one"):
        ZooTuning.from_models([])
    with pytest.raises(ValueError, match="align must be one of"):
        ZooTuning.from_models(small(), 5, align="all")
    other = small()
    other[1].pretrained_cfg = {**other[1].pretrained_cfg, "mean": (0.1, 0.1, 0.1)}
    with pytest.raises(ValueError, match="mean and std must be given"):
        ZooTuning.from_models(other, 5)


def test_five_resnet50_have_the_published_size():
    with torch.device("meta"):
        models = [timm.create_model("resnet50", num_classes=100) for _ in range(5)]
        image = torch.rand(1, 3, 224, 224)
        zoo = ZooTuning.from_models(models, 100).eval()
        lite = ZooTuning.from_models(models, 100, lite=True)
        assert parameters(zoo) == 122_539_961 + 5_918_720  # alignment of the published layers
        folded = zoo.fold()
        assert parameters(folded) == 122_539_961
        assert parameters(lite.fold()) == parameters(models[0]) == 23_712_932
        single = multiply_adds(models[0].eval(), image)
        # The mix of 5 models' weights, 117 M, and gates, 5 M
        mixing, gates = 5 * 23_454_912, 5_007_381 - 53 * 5
        assert multiply_adds(folded, image) == single + mixing + gates
        assert round(single / 1e9, 2) == 4.09


PREFIXED = ["", "module.encoder_q.", "backbone.body.", "backbone.", "module."]


@pytest.mark.parametrize("prefix", PREFIXED)
def test_backbones_of_other_methods(prefix):
    source, target = (timm.create_model("test_resnet", num_classes=n) for n in (3, 7))
    state = {f"{prefix}{name}": value for name, value in source.state_dict().items()}
    state = {k: v for k, v in state.items() if "num_batches_tracked" not in k}
    load_backbone(target, {"state_dict": {**state, "rpn.weight": torch.zeros(1)}})
    x = torch.rand(2, 3, 32, 32)
    assert_close(target.eval().forward_features(x), source.eval().forward_features(x))
    del state[f"{prefix}layer2.0.conv1.weight"]
    with pytest.raises(ValueError, match=r"checkpoint must hold \S*layer2\.0\.conv1\.weight"):
        load_backbone(target, state)
