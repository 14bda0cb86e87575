"""How long and how fast to train."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from hubfast.tuning.headed import HeadedModel
from hubfast.utils.moved import renamed_attributes
from hubfast.utils.names import brief

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["one-cycle", "cosine", "step", "constant"]
MOST = 10**9  # epochs, and samples per step: counters of steps hold what comes of them


@renamed_attributes(rate="lr")
@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of a run, all that its result depends on besides method and data."""

    epochs: int = 25
    batch_size: int = 32
    lr: float | None = None  # highest learning rate; None: what fits the samples and the method
    head_factor: float = 1.0  # new layers learn at so many times lr
    optimizer: Optimizer = "adamw"  # "sgd": with Nesterov momentum 0.9
    weight_decay: float = 0.05
    schedule: Schedule = "one-cycle"  # "step": a tenth after two thirds of the steps
    smoothing: float = 0.05  # how much labels are smoothed
    clip: float | None = None  # largest norm of the gradient
    seed: int = 0  # seed of the order, of augmentation and of everything random in the model

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr", "head_factor"):
            value = getattr(self, name)
            if value is None and name == "lr":
                continue
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
            if value == math.inf:
                raise ValueError(f"{name} must be finite, got {value}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) > MOST:
                raise ValueError(
                    f"{name} must be at most {MOST:,}, got {brief(getattr(self, name))}"
                )
        if not -(2**63) <= self.seed < 2**64:
            raise ValueError(f"seed must be of 64 bits, got {self.seed}")
        for name, allowed in (("optimizer", Optimizer), ("schedule", Schedule)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(
                    f"{name} must be one of {get_args(allowed)}, got {getattr(self, name)!r}"
                )

    def settled(self, lr: float) -> "Recipe":
        """The recipe with this highest learning rate, unless it has one."""
        return self if self.lr is not None else replace(self, lr=lr)

    def as_dict(self) -> dict[str, Any]:
        """Values by name, for a checkpoint or a report."""
        return asdict(self)

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Names of the values that differ from those of `as_dict` of another."""
        known = {"lr": other.get("rate"), **other}  # its name in checkpoints of version 0.1
        return [f.name for f in fields(self) if known.get(f.name) != getattr(self, f.name)]

    def build(self, module: nn.Module, steps: int) -> tuple[torch.optim.Optimizer, LRScheduler]:
        """Optimiser of everything trainable in `module`, and its schedule.

        Raises:
            ValueError: Nothing in the module is trainable, or the recipe has no learning rate.
        """
        heads = {id(p) for p in _head_parameters(module)}
        trained = [p for p in module.parameters() if p.requires_grad]
        if not trained:
            raise ValueError("method must have parameters to train, got none")
        if self.lr is None:
            raise ValueError("lr must be given to build an optimizer, got None")
        groups = [
            {"params": [p for p in trained if id(p) not in heads], "lr": self.lr},
            {"params": [p for p in trained if id(p) in heads], "lr": self.lr * self.head_factor},
        ]
        groups = [group for group in groups if group["params"]]
        optimizer: torch.optim.Optimizer
        if self.optimizer == "adamw":
            optimizer = torch.optim.AdamW(groups, weight_decay=self.weight_decay)
        else:
            optimizer = torch.optim.SGD(
                groups, momentum=0.9, nesterov=True, weight_decay=self.weight_decay
            )
        return optimizer, self._scheduler(optimizer, steps)

    def _scheduler(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        rates = [group["lr"] for group in optimizer.param_groups]
        schedulers = torch.optim.lr_scheduler
        match self.schedule:
            case "one-cycle":
                return schedulers.OneCycleLR(optimizer, rates, total_steps=steps)
            case "cosine":
                return schedulers.CosineAnnealingLR(optimizer, steps)
            case "step":
                return schedulers.StepLR(optimizer, max(1, steps * 2 // 3))
            case _:
                return schedulers.ConstantLR(optimizer, factor=1.0)


def _head_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    for part in module.modules():
        if isinstance(part, HeadedModel):
            yield from part.new_parameters()
