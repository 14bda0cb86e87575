"""Small models and data that train in milliseconds."""

import numpy as np
import torch
from torch import nn

from hubfast.data import as_target_data
from hubfast.tuning import ImageDataset, TargetEncoder, TransferModel

SIZE = (8, 8)


def coloured(count=24, classes=3, seed=0):
    """Noisy images whose colour says their class, and the classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = rng.integers(0, 80, (count, *SIZE, 3))
    images[np.arange(count), :, :, labels] += 120
    return images.astype(np.uint8), labels


def data(count=24, classes=3, seed=0):
    images, labels = coloured(count, classes, seed)
    return as_target_data((list(images), labels), name="colours")


def pictures(count=24, classes=3, seed=0, **options):
    target = data(count, classes, seed)
    labels = TargetEncoder.of(target)
    return ImageDataset(target, labels, SIZE, **options), labels


class Small(nn.Module):
    """Conv, normalisation, dropout, pooling, classifier of 5 source classes."""

    def __init__(self, width=6, norm=nn.BatchNorm2d, dropout=0.0):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.norm = norm(width)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(width, 5)

    def forward(self, x):
        return self.fc(self.drop(torch.relu(self.norm(self.conv(x))).mean((2, 3))))


def model(outputs=3, width=6, seed=0, **options):
    torch.manual_seed(seed)
    return TransferModel(Small(width, **options), outputs, torch.rand(2, 3, *SIZE))
