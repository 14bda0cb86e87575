"""Small hubs for the tests of Hub-Pathway."""

import torch
from torch import nn

from hubfast.pathway import HubModel, HubPathway, PathwayGenerator

CLASSES, MODELS = 3, 4


class Small(nn.Module):
    """A network with batch norm that splits into backbone and head as timm's do."""

    def __init__(self, width, classes=CLASSES):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, classes)
        self.num_classes, self.num_features = classes, width

    def forward_features(self, images):
        return self.norm(self.stem(images)).relu()

    def forward_head(self, maps, pre_logits=False):
        pooled = maps.mean((2, 3))
        return pooled if pre_logits else self.fc(pooled)

    def get_classifier(self):
        return self.fc

    def reset_classifier(self, classes):
        self.num_classes = classes
        self.fc = nn.Linear(self.num_features, classes) if classes else nn.Identity()

    def forward(self, images):
        return self.forward_head(self.forward_features(images))


def network(models=MODELS):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(models)
    )


def small_hub(k=2, seed=0, *, sizes=(None, 12, 12, 20), noise=True, **options):
    """A hub of four models, two of one size, in float32."""
    torch.manual_seed(seed)
    models = [
        HubModel(Small(4 + m), name=f"model {m}", size=size, mean=(0.1 * m,) * 3, std=(0.5,) * 3)
        for m, size in enumerate(sizes)
    ]
    networks = [network(len(sizes)) for _ in range(1 + noise)]
    for net in networks:
        net(torch.zeros(1, 3, 16, 16))  # sizes of lazy layers
        net[-1].weight.data *= 5  # choices that differ from image to image
    return HubPathway(models, k, generator=PathwayGenerator(*networks), **options)


def batch(count=9, seed=1):
    torch.manual_seed(seed)
    return torch.rand(count, 3, 16, 16), torch.randint(0, CLASSES, (count,))
