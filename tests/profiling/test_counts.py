import timm
import torch
from torch import nn

from hubfast.profiling.counts import multiply_adds, operations, parameters


def test_by_hand():
    conv = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
    assert parameters(conv) == 3 * 8 * 9 + 8 + 2 * 8
    assert multiply_adds(conv, torch.zeros(2, 3, 5, 5)) == 2 * 25 * 3 * 8 * 9


def test_resnet50_is_the_known_one():
    with torch.device("meta"):
        model = timm.create_model("resnet50").eval()
        images = torch.empty(1, 3, 224, 224)
    assert parameters(model) == 25_557_032
    assert round(multiply_adds(model, images) / 1e9, 2) == 4.09
    assert round(operations(model, images) / 1e9, 2) == 4.12


def test_operations_by_hand():
    layers = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 1, 1))
    found = operations(layers, torch.zeros(1, 3, 4, 4))
    assert found == 2 * 48 + 48 + 48 + 3 * 4
    assert not any(layer._forward_hooks for layer in layers)
