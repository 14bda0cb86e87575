"""How good a method is on data."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hubfast.nn.hooks import eval_mode
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.processes import ALONE, Processes
from hubfast.tuning.samples import SampleDataset
from hubfast.tuning.teachers import in_order
from hubfast.utils.moved import renamed

METRICS = {"classification": "accuracy", "multilabel": "mean average precision", "regression": "R2"}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Quality on a set of samples."""

    metric: str
    value: float
    logits: Tensor  # (n, C)
    targets: Tensor  # (n,) or (n, C), encoded
    confusion: Tensor | None  # (C, C) counts, rows the true classes; for classification


@renamed(pictures="samples", images="samples")
@torch.inference_mode()
def predict(
    method: nn.Module,
    samples: SampleDataset,
    *,
    batch_size: int = 32,
    device: str = "cpu",
    processes: Processes = ALONE,
) -> Tensor:
    """Logits of all `samples` in eval mode, `(n, C)` on the CPU; the mode is restored.

    With several `processes`, all of which call this, each runs the method on its part of the
    samples, and each gets all logits. No image is run twice.
    """
    batches = in_order(samples, batch_size, processes)
    with eval_mode(method):
        found = [method(batch.to(device)).float().cpu() for batch, _, _ in batches]
    return processes.whole(torch.cat(found), len(samples))


@renamed(pictures="samples", images="samples")
def evaluate(
    method: nn.Module,
    samples: SampleDataset,
    labels: TargetEncoder,
    *,
    batch_size: int = 32,
    device: str = "cpu",
    processes: Processes = ALONE,
) -> Evaluation:
    """Accuracy, mean average precision or R2 (torchmetrics) of a method on `samples`.

    The mean average precision is over the labels that some sample has. With several `processes`
    it is that of all samples; see `predict`.

    Raises:
        ValueError: The samples are encoded with other labels.
    """
    labels.check_same(samples.labels)
    logits = predict(method, samples, batch_size=batch_size, device=device, processes=processes)
    targets = samples.targets
    value, confusion = quality(logits, targets, labels)
    return Evaluation(METRICS[labels.task], value, logits, targets, confusion)


def quality(logits: Tensor, targets: Tensor, labels: TargetEncoder) -> tuple[float, Tensor | None]:
    """The metric of the task, of outputs `(n, C)` for encoded targets, and the confusion matrix.

    Raises:
        ValueError: Multi-label data without a single label.
    """
    from torchmetrics.functional import classification, r2_score  # slow to import

    match labels.task:
        case "classification":
            confusion = classification.multiclass_confusion_matrix(
                logits.argmax(1), targets, num_classes=labels.outputs
            )
            return float(confusion.trace() / confusion.sum().double()), confusion
        case "multilabel":
            found = [  # of labels that no sample has, there is none
                float(classification.binary_average_precision(scores, truth))
                for scores, truth in zip(logits.sigmoid().T, targets.long().T, strict=True)
                if bool(truth.any())
            ]
            if not found:
                raise ValueError("data must have a label for some sample to be evaluated on")
            return sum(found) / len(found), None
        case _:
            return float(r2_score(logits.double(), targets.double())), None
