"""Where a tuned Hub-Pathway sends the pictures."""

from dataclasses import replace

import torch
from torch import nn

from hubfast.pathway import HubPathway, Survey, survey
from hubfast.pathway.diagnostics import LOAD
from hubfast.tuning.history import History
from hubfast.tuning.labels import Labels
from hubfast.tuning.pictures import Pictures

MOST = 512  # pictures looked at


def pathways(
    method: nn.Module, pictures: Pictures, labels: Labels, history: History
) -> Survey | None:
    """The survey of up to MOST pictures, with the load by epoch; None for other methods."""
    if not isinstance(method, HubPathway):
        return None
    images = pictures.batch(range(min(MOST, len(pictures))))
    targets = pictures.targets[: len(images)]
    found = survey(method, images, targets, class_names=labels.names)
    loads = [history.diagnostics[f"{LOAD}/{name}"] for name in method.names]
    return replace(found, history=torch.tensor(loads).T, steps=history.steps)
