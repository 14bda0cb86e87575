"""Where a tuned Hub-Pathway sends images."""

from dataclasses import replace

import torch
from torch import nn

from hubfast.pathway import HubPathway, RoutingSurvey, survey
from hubfast.pathway.diagnostics import LOAD
from hubfast.tuning.history import History
from hubfast.tuning.images import ImageDataset
from hubfast.tuning.labels import TargetEncoder

MOST = 512  # images that are looked at, at most
MEMORY = 2**28  # bytes of these images, at most


def pathways(
    method: nn.Module,
    images: ImageDataset,
    labels: TargetEncoder,
    history: History,
    batch_size: int = 32,
) -> RoutingSurvey | None:
    """The survey of up to MOST images, with the load by epoch; None for other methods."""
    if not isinstance(method, HubPathway):
        return None
    one = images.batch([0]).nbytes
    batch = images.batch(range(min(MOST, max(1, MEMORY // one), len(images))))
    targets = images.targets[: len(batch)]
    found = survey(method, batch, targets, class_names=labels.names, batch_size=batch_size)
    loads = [history.diagnostics[f"{LOAD}/{name}"] for name in method.names]
    return replace(found, history=torch.tensor(loads, device="cpu").T, steps=history.steps)
