"""What the Trainer minimises: the terms of a method's loss, in one forward pass that DDP wraps."""

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from hubfast.tuning.headed import HeadedModel
from hubfast.tuning.labels import TargetEncoder
from hubfast.utils.moved import renamed_attributes


@renamed_attributes(deviation="std")
class TaskLoss(nn.Module):
    """Loss of logits `(B, C)` against encoded targets; a scalar.

    Cross-entropy for classes, binary cross-entropy for multi-label, mean squared error in units
    of the training targets' standard deviation for regression.
    """

    def __init__(self, labels: TargetEncoder, smoothing: float = 0.0):
        super().__init__()
        self.task, self.smoothing = labels.task, smoothing
        self.std: Tensor | None
        self.register_buffer("std", labels.std, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        match self.task:
            case "classification":
                return F.cross_entropy(logits, targets, label_smoothing=self.smoothing)
            case "multilabel":
                return F.binary_cross_entropy_with_logits(logits, targets)
            case _:
                assert self.std is not None
                return ((logits - targets) / self.std).square().mean()


class ForwardPass(NamedTuple):
    """What one forward pass of a model saw, for the terms of a loss."""

    model: HeadedModel
    samples: Any  # images (B, 3, H, W) in [0, 1], or a TextBatch
    targets: Tensor  # (B,) or (B, C), encoded
    features: Tensor  # (B, D), with gradient
    logits: Tensor  # (B, C)
    rows: Tensor | None  # (B,) positions in the training data; None in a loop that has none

    @property
    def images(self) -> Any:
        """The samples, by the name that terms of loss know them by since version 0.1."""
        return self.samples


class Term(Protocol):
    """A regulariser, its weight included: a small nn.Module that maps `ForwardPass` to a scalar.

    One that needs more of the model's pass has `watch(model)`, a context manager around it.
    """

    def __call__(self, batch: ForwardPass) -> Tensor: ...


class Regularised(nn.Module):
    """One model and the terms added to its task loss; a method like any other.

    Args:
        model: The model to tune.
        task: The model's task loss.
        terms: nn.Modules by name, each a `Term`.
    """

    def __init__(self, model: HeadedModel, task: TaskLoss, terms: Mapping[str, nn.Module]):
        super().__init__()
        self.model, self.task = model, task
        self.terms = nn.ModuleDict(terms)

    def forward(self, samples: Any) -> Tensor:
        return self.model(samples)

    def losses(
        self, samples: Any, targets: Tensor, rows: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Terms whose sum is the loss, scalars by name."""
        with ExitStack() as stack:
            for term in self.terms.values():
                if (watch := getattr(term, "watch", None)) is not None:
                    stack.enter_context(watch(self.model))
            features = self.model.features(samples)
            logits = self.model.logits(features)
            batch = ForwardPass(self.model, samples, targets, features, logits, rows)
            found = {"task": self.task(logits, targets)}
            return found | {name: term(batch) for name, term in self.terms.items()}

    @property
    def deployed(self) -> nn.Module:
        """What is used in the end: the model without the terms."""
        return self.model

    def export(self) -> nn.Module:
        """The plain model, as `TransferModel` and `TextModel` export it."""
        return self.model.export()


class Objective(nn.Module):
    """`(samples, targets, rows)` -> the terms of a method's loss, for one `forward` to wrap.

    A method is an nn.Module with `forward(samples) -> logits`. Its `losses(samples, targets)`, or
    `losses(samples, targets, rows)`, gives the terms; without, the task loss of its logits is the
    only one.
    """

    def __init__(self, method: nn.Module, task: TaskLoss):
        super().__init__()
        self.method, self.task = method, task
        losses = getattr(method, "losses", None)
        self.takes_rows = losses is not None and "rows" in inspect.signature(losses).parameters

    def forward(self, samples: Any, targets: Tensor, rows: Tensor) -> dict[str, Tensor]:
        losses = getattr(self.method, "losses", None)
        if losses is None:
            return {"task": self.task(self.method(samples), targets)}
        return losses(samples, targets, rows) if self.takes_rows else losses(samples, targets)


class TrainingDiverged(FloatingPointError):
    """A term of the loss became NaN or infinite; the message says when and which."""


def check_finite(terms: Mapping[str, float], step: int, rows_of: Callable[[int], Tensor]) -> None:
    """Raises TrainingDiverged for a term that is not finite, with the step and the batch.

    Args:
        terms: Values of the whole batch, the same in all processes.
        step: Number of the step.
        rows_of: Gives the positions of all samples of a step.
    """
    for name, value in terms.items():
        if not math.isfinite(value):
            rows = rows_of(step)
            shown = ", ".join(str(int(row)) for row in rows[:8])
            more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
            raise TrainingDiverged(
                f"loss term {name!r} is {value} at step {step}, batch of samples {shown}{more}; "
                "try a lower lr, or full precision"
            )
