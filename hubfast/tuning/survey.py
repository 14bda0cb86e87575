"""Where a tuned Hub-Pathway sends images."""

from dataclasses import replace

import torch
from torch import nn

from hubfast.pathway import HubPathway, RoutingSurvey, survey
from hubfast.pathway.diagnostics import LOAD
from hubfast.tuning.history import History
from hubfast.tuning.samples import SampleDataset

SURVEYED = 512  # images of which it is told where a Hub-Pathway sends them, at most
SURVEYED_BYTES = 2**28  # bytes of these images, at most


def pathways(
    module: nn.Module, history: History, images: SampleDataset, batch_size: int
) -> RoutingSurvey | None:
    """Where a Hub-Pathway sends images, with its load by epoch; None for other methods.

    Args:
        module: What was tuned.
        history: What happened in training.
        images: Those to send through it.
        batch_size: Images in one pass.
    """
    if not isinstance(module, HubPathway):
        return None
    one = images.batch([0]).nbytes
    batch = images.batch(range(min(SURVEYED, max(1, SURVEYED_BYTES // one), len(images))))
    targets = images.targets[: len(batch)]
    found = survey(module, batch, targets, class_names=images.labels.names, batch_size=batch_size)
    loads = [history.diagnostics[f"{LOAD}/{name}"] for name in module.names]
    return replace(found, history=torch.tensor(loads, device="cpu").T, steps=history.steps)
