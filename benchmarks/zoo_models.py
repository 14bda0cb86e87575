"""What Zoo-Tuning is compared with and on: hubs of one architecture, ensembles, mean weights."""

from functools import cache

import torch
from torch import Tensor, nn

from hubfast.minihub import build, load
from hubfast.minihub.models import spec_of
from hubfast.minihub.tasks import source_images
from hubfast.minihub.training import PretrainingRecipe, prepare, train

SOURCES = {
    "independent": ("letters", "digits", "shapes", "textures", "fonts", "noise"),
    "related": ("letters", "digits", "shapes", "textures", "fonts"),
}


class Ensemble(nn.Module):
    """Mean of the models' probabilities, as logits."""

    def __init__(self, models: list[nn.Module]):
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([m(x).softmax(1) for m in self.models]).mean(0).log()


@cache
def models_of(hub: str) -> dict[str, nn.Module]:
    """The hub's models by source; those of `related` are trained when they are asked for."""
    names = [f"resnet_{source}" for source in SOURCES["independent"]]
    build(names, progress=False)
    if hub == "independent":
        return {source: load(f"resnet_{source}") for source in SOURCES[hub]}
    first = load("resnet_letters")
    return {source: first if source == "letters" else further(source) for source in SOURCES[hub]}


def further(source: str) -> nn.Module:
    """The model of letters, trained for two epochs on another source."""
    images, labels, classes = source_images(source, spec_of(f"resnet_{source}").samples, 0)
    model = load("resnet_letters")
    torch.manual_seed(0)
    model.reset_classifier(classes)
    inputs, targets = prepare(model, images), torch.from_numpy(labels)
    train(model, inputs, targets, "classification", PretrainingRecipe(2, 1e-3, 32), seed=0)
    return model.eval()


def mean_of(models: list[nn.Module], classes: int) -> nn.Module:
    """One model whose weights are the models' mean; BatchNorm starts anew, as in Zoo-Tuning."""
    for model in models:
        model.reset_classifier(classes)
    mean, states = models[0], [model.state_dict() for model in models]
    mean.load_state_dict(
        {n: torch.stack([s[n] for s in states]).float().mean(0) for n in states[0]}
    )
    for module in mean.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return mean
