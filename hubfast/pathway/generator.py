"""The pathway generator: from images to the logits that choose models, and their noise."""

from typing import cast

from torch import Tensor, nn

from hubfast.pathway.models import HubModel, ResizedBatch, Size
from hubfast.utils.moved import renamed

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels


class PathwayGenerator(nn.Module):
    """Two networks on the raw images: one gives one logit per model, the other its noise.

    Args:
        mean: Maps normalised images to logits `(b, models)`.
        spread: Maps them to `(b, models)`, softplus of which is the std of the noise; runs
            in training only. None: no noise.
        size: Height and width they see; None: those of the batch.
        architecture: What `pathway_generator` builds them from, if it does.
    """

    def __init__(
        self,
        mean: nn.Module,
        spread: nn.Module | None = None,
        *,
        size: int | Size | None = None,
        architecture: str | None = None,
    ):
        super().__init__()
        self.architecture = architecture
        self.mean = HubModel(mean, name="generator", size=size, mean=MEAN, std=STD)
        self.spread = spread

    @renamed(views="batch")
    def forward(self, batch: ResizedBatch) -> tuple[Tensor, Tensor | None]:
        """Logits `(B, models)`, and the noise's in training."""
        images = self.mean.normalised(batch.of(self.mean.size))
        logits = self.mean.module(images)
        return logits, self.spread(images) if self.training and self.spread is not None else None


def pathway_generator(
    architecture: str, models: int, *, noise: bool = True, size: int | Size | None = None
) -> PathwayGenerator:
    """A generator with fresh weights.

    Args:
        architecture: timm's name, or `"resnet10"`: basic blocks 1-1-1-1, 4.9 M parameters and
            0.89 GFLOPs at 224 pixels. That is the size which the published cost leaves for it;
            which network the paper used is not known here.
        models: How many there are to choose from.
        noise: With a second network for the noise.
        size: See PathwayGenerator.
    """
    networks = [_network(architecture, models) for _ in range(1 + noise)]
    return PathwayGenerator(*networks, size=size, architecture=architecture)


def _network(architecture: str, outputs: int) -> nn.Module:
    if architecture == "resnet10":
        from timm.models.resnet import BasicBlock, ResNet  # slow to import

        return ResNet(BasicBlock, (1, 1, 1, 1), num_classes=outputs)  # type: ignore[arg-type]
    import timm

    return cast(nn.Module, timm.create_model(architecture, num_classes=outputs))
