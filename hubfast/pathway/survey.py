"""Which samples go to which model: what the report draws."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hubfast.nn.hooks import eval_mode
from hubfast.nn.resize import resized
from hubfast.pathway.diagnostics import LoadHistory
from hubfast.pathway.module import HubPathway
from hubfast.utils.moved import moved

__getattr__ = moved("hubfast.pathway.survey", {"Survey": "hubfast.pathway.survey.RoutingSurvey"})

PIXELS = 64  # of a thumbnail's longer side


@dataclass(frozen=True, eq=False)
class RoutingSurvey:
    """The pathways of a data set.

    Args:
        models: Names of the models.
        classes: Names of the classes, empty without any.
        k: How many models each sample runs on.
        samples: How many there are.
        shares: Share of each class's samples that runs on each model, `(C, M)`; rows sum to k.
        load: Share of all samples that runs on each model, `(M,)`.
        gates: Mean weight of each model among the samples it takes, `(M,)`; NaN without any.
        images: For each model, thumbnails `(n, 3, h, w)` in [0, 1] of the samples it weighs most.
        history: Shares over the course of training, `(p, M)`; None if not noted.
        steps: How many steps of training `history` covers.
    """

    models: list[str]
    classes: list[str]
    k: int
    samples: int
    shares: Tensor
    load: Tensor
    gates: Tensor
    images: list[Tensor]
    history: Tensor | None
    steps: int


@torch.no_grad()
def survey(
    hub: HubPathway,
    images: Tensor,
    targets: Tensor | None = None,
    *,
    class_names: Sequence[str] | None = None,
    history: LoadHistory | None = None,
    shown: int = 8,
    batch_size: int = 64,
) -> RoutingSurvey:
    """Routes all images, in eval mode and without noise; only the generator runs.

    Args:
        hub: On the device where the batches shall run.
        images: `(N, 3, H, W)` float in [0, 1], at least one.
        targets: Classes `(N,)` int64; None, or floats: no table of classes.
        class_names: Names of classes 0, 1, ...; None numbers them.
        history: What was noted during training.
        shown: How many images of each model are kept.
        batch_size: How many images are routed at a time.
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f"images must be (N, 3, H, W) with N >= 1, got {tuple(images.shape)}")
    if targets is not None and len(targets) != len(images):
        raise ValueError(f"targets must be of {len(images)} images, got {len(targets)}")
    models = len(hub.names)
    device = next(hub.generator.parameters()).device
    weights = torch.full(
        (len(images), models), -1.0, dtype=torch.float32, device="cpu"
    )  # not chosen: a gate may round to 0
    with eval_mode(hub):
        for index in torch.arange(len(images), device="cpu").split(batch_size):
            routes = hub.route(images[index].to(device))
            gates = routes.gates.float().cpu()
            weights[index] = weights[index].scatter(1, routes.chosen.cpu(), gates)
    chosen = weights >= 0
    classes, shares = _by_class(chosen, targets, class_names)
    return RoutingSurvey(
        models=hub.names,
        classes=classes,
        k=hub.k,
        samples=len(images),
        shares=shares,
        load=chosen.double().mean(0),
        gates=weights.clamp(min=0).sum(0) / chosen.sum(0),
        images=[_thumbnails(images, weights[:, m], shown) for m in range(models)],
        history=None if history is None or not len(history) else history.shares(),
        steps=0 if history is None else len(history),
    )


def _by_class(
    chosen: Tensor, targets: Tensor | None, names: Sequence[str] | None
) -> tuple[list[str], Tensor]:
    if targets is None or targets.is_floating_point():
        return [], chosen.new_zeros(0, chosen.shape[1], dtype=torch.float32)
    known = targets.cpu().unique().tolist()
    shares = torch.stack([chosen[targets.cpu() == c].double().mean(0) for c in known])
    return [str(c) if names is None else names[c] for c in known], shares


def _thumbnails(images: Tensor, weights: Tensor, shown: int) -> Tensor:
    best = weights.argsort(descending=True, stable=True)[:shown]
    found = images[best[weights[best] >= 0]].cpu().float()
    height, width = images.shape[2:]
    if max(height, width) > PIXELS and len(found):
        scale = PIXELS / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        found = resized(found, size)
    return found.clamp(0, 1)
