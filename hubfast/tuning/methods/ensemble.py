"""Ensembles: several models tuned on their own, their predictions averaged."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hubfast.tuning.objective import TaskLoss


class Ensemble(nn.Module):
    """Averages the members' probabilities; for regression, their predictions.

    `losses` is the sum of the members' own task losses. They share nothing, so that training
    them together is training each alone.

    Args:
        members: Modules from a batch of samples to `(B, C)`.
        task: The task loss.
    """

    def __init__(self, members: Sequence[nn.Module], task: TaskLoss):
        super().__init__()
        if not members:
            raise ValueError("members must hold at least one model")
        self.members, self.task = nn.ModuleList(members), task

    def forward(self, samples: Any) -> Tensor:
        """Logits of the averaged probabilities, `(B, C)`."""
        outputs = torch.stack([member(samples) for member in self.members])
        match self.task.task:
            case "classification":
                return outputs.log_softmax(2).logsumexp(0) - math.log(len(outputs))
            case "multilabel":
                return outputs.sigmoid().mean(0).logit(eps=1e-6)
            case _:
                return outputs.mean(0)

    def losses(self, samples: Any, targets: Tensor) -> dict[str, Tensor]:
        """Task loss of each member, `member_1` first."""
        return {
            f"member_{k}": self.task(member(samples), targets)
            for k, member in enumerate(self.members, 1)
        }
