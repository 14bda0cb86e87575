"""Whether models come from one ancestor, told by their weights."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hubfast.minihub import load
from hubfast.zoo import kinship, strangers
from hubfast.zoo.ancestry import RELATED


def net(seed, width=16):
    torch.manual_seed(seed)
    layers = (nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, width, 3))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 5))


def moved(model, noise):
    """A copy whose weights went on by `noise` times their own size."""
    found = copy.deepcopy(model)
    with torch.no_grad():
        for value in found.parameters():
            value.add_(noise * value.std() * torch.randn_like(value) if value.ndim > 1 else 1.0)
    return found


def test_kinship_by_hand():
    a, b = nn.Linear(64, 2, bias=False), nn.Linear(64, 2, bias=False)
    with torch.no_grad():
        a.weight.copy_(torch.ones(2, 64))
        b.weight.copy_(torch.tensor([1.0, 0.0])[:, None].expand(2, 64))
    assert_close(kinship([a, b]), torch.tensor([[1, 2**-0.5], [2**-0.5, 1]], dtype=torch.float64))


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_models_of_an_ancestor_are_told_from_others(noise):
    parent = net(0)
    models = [parent, moved(parent, noise), moved(parent, noise), net(1)]
    found = kinship(models)
    assert_close(found, found.T)
    assert found.diagonal().tolist() == [1.0] * 4
    assert found[:3, :3].min() > RELATED
    assert found[3, :3].max() < RELATED
    assert strangers(models[:3], "abc") == ""
    said = strangers(models, ["p", "x", "y", "other"])
    assert said.startswith("other and p seem to have no common ancestor")


def test_a_layer_that_was_drawn_anew_does_not_matter():
    parent = net(0)
    child = copy.deepcopy(parent)
    child[4] = net(1)[4]
    assert kinship([parent, child])[0, 1] == pytest.approx(1.0)


def test_models_with_nothing_in_common():
    assert kinship([net(0), net(0, width=8)])[0, 1] == 0.0
    assert kinship([nn.ReLU(), nn.ReLU()])[0, 1] == 0.0
    assert kinship([net(0)]).tolist() == [[1.0]]


def test_models_of_the_mini_hub_were_trained_apart():
    names = ["resnet_letters", "resnet_digits", "resnet_noise"]
    models = [load(name) for name in names]
    pairs = kinship(models)[torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)]
    assert pairs.abs().max() < RELATED / 2
    assert "resnet_digits, resnet_noise and resnet_letters" in strangers(models, names)
