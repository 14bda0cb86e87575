"""The checkpoint of a run: what it holds, and that it goes on with the same run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from hubfast.tuning.history import EpochMeans, History
from hubfast.tuning.recipe import Recipe
from hubfast.utils import files
from hubfast.utils.decoding import decoding

NAME = "checkpoint.pt"


@dataclass
class Progress:
    """What training changes, step by step."""

    method: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    history: History
    means: EpochMeans


@dataclass(frozen=True)
class RunKey:
    """What must be the same for a run to go on, besides the method."""

    recipe: Recipe
    samples: int
    labels: list[str]

    def differences(self, content: dict[str, Any]) -> list[str]:
        """Names of what differs in a checkpoint."""
        found = self.recipe.differences(content.get("recipe", {}))
        found += ["data"] * (content.get("samples") != self.samples)
        return found + ["classes"] * (content.get("labels", self.labels) != self.labels)


def save(folder: Path, step: int, key: RunKey, progress: Progress) -> None:
    """Writes the checkpoint, whole or not at all; it says nothing of the number of processes."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "step": step,
        "recipe": key.recipe.as_dict(),
        "samples": key.samples,
        "labels": key.labels,
        "method": progress.method.state_dict(),
        "optimizer": progress.optimizer.state_dict(),
        "schedule": progress.schedule.state_dict(),
        "history": progress.history.as_dict(),
        "means": vars(progress.means),
    }
    files.save(folder / NAME, content)


def read(folder: Path, key: RunKey) -> dict[str, Any] | None:
    """The folder's checkpoint; None if there is none.

    Raises:
        ValueError: It is of another run; the message names what differs.
    """
    path = folder / NAME
    if not path.exists():
        return None
    content = files.load(path)
    if differ := key.differences(content):
        raise ValueError(f"{path} is of a run with another {', '.join(differ)}")
    return content


def restore(folder: Path, content: dict[str, Any], progress: Progress) -> int:
    """Puts the state of the folder's checkpoint in place and returns the step to go on with.

    Raises:
        ValueError: The state does not fit this method.
    """
    with decoding(folder / NAME, "cannot be read as a checkpoint of this method"):
        for part in ("method", "optimizer", "schedule"):
            getattr(progress, part).load_state_dict(content[part])
        progress.history = History(**content["history"])
        progress.means = EpochMeans(**content["means"])
        return content["step"]
