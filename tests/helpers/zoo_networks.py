"""Small hubs for tests of Zoo-Tuning."""

import timm
import torch
from torch import nn

SMALL = {
    "test_resnet": {},
    "test_efficientnet": {},
    "mobilenetv3_small_050": {},
    "tf_mobilenetv3_small_minimal_100": {},  # pads as TensorFlow does
    "test_convnext2": {},
    "test_vit": {"img_size": 32},
    "swin_tiny_patch4_window7_224": {
        "img_size": 32,
        "patch_size": 2,
        "window_size": 4,
        "embed_dim": 12,
        "depths": (1, 2),
        "num_heads": (2, 2),
    },
}


class NatureCNN(nn.Sequential):
    """The convolutional network of Mnih et al., Nature 2015, for 4 frames of 84 x 84."""

    def __init__(self, actions=6):
        super().__init__(
            nn.Conv2d(4, 32, 8, 4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3136, 512),
            nn.ReLU(),
            nn.Linear(512, actions),
        )


def tiny():
    """Few layers: compiling and exporting takes seconds a layer."""
    stem = (nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(*stem, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3))


def small(name="test_resnet", count=2, **options):
    return [timm.create_model(name, num_classes=3, **SMALL[name], **options) for _ in range(count)]


def spread(zoo):
    """Gates that differ, and alignment that is no identity."""
    for layer in zoo.zoo_layers().values():
        nn.init.normal_(layer.gate.select.weight, std=0.3)
        if layer.alignment is not None:
            with torch.no_grad():
                layer.alignment.add_(0.1 * torch.randn_like(layer.alignment))
    return zoo
