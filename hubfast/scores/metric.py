"""One score computed from batches, with each sample's influence on it."""

from typing import Literal, get_args

import torch
from torch import Tensor

from hubfast.scores.hscore import HScore
from hubfast.scores.inputs import Task
from hubfast.scores.leep import Leep
from hubfast.scores.logme import LogME
from hubfast.scores.nce import Nce
from hubfast.scores.statistics import FeatureStatistics

Metric = Literal["logme", "h_score", "regularized_h_score", "leep", "nce"]
NEED_LOGITS = ("leep", "nce")


def check_metric(metric: str, task: Task) -> None:
    """Refuses an unknown metric, or one that the task has no use for.

    Raises:
        ValueError: So it is.
    """
    if metric not in get_args(Metric):
        raise ValueError(f"metric must be one of {get_args(Metric)}, got {metric!r}")
    if metric != "logme" and task != "classification":
        raise ValueError(f"metric {metric!r} is for classification, the targets are {task}")


class StreamedScore:
    """Takes batches of one model's outputs; `finish` gives the score.

    Keeps FeatureStatistics and the features of the few `sample` rows; for LEEP the source
    probabilities instead (n x Cs float32: it needs every sample's a second time), for NCE the
    source labels. What is kept is allocated once: one small piece kept of every batch would
    scatter the heap, and memory would grow with the number of batches.

    Args:
        metric: Which score.
        targets: Of all samples, as `as_targets` returns them.
        task: What they pose.
        sample: Positions of the samples whose influence is wanted, `(r,)` int64 ascending.
    """

    def __init__(self, metric: Metric, targets: Tensor, task: Task, sample: Tensor):
        check_metric(metric, task)
        self.metric, self.targets, self.sample = metric, targets, sample
        self.statistics = FeatureStatistics(task)
        self._kept: Tensor | None = None

    def update(self, index: Tensor, features: Tensor, logits: Tensor | None) -> None:
        """Adds the outputs for the samples at `index`, ascending."""
        if self.metric in NEED_LOGITS:
            if logits is None:
                raise ValueError(f"metric {self.metric!r} needs the source classifier's logits")
            probabilities = logits.float().softmax(1)
            rows = probabilities if self.metric == "leep" else probabilities.argmax(1)
            self._keep(len(self.targets), index, rows)
        else:
            self.statistics.update(features, self.targets[index])
            wanted = torch.isin(self.sample, index).nonzero().flatten()
            chosen = torch.searchsorted(index, self.sample[wanted])
            self._keep(len(self.sample), wanted, features[chosen])

    def finish(self) -> tuple[float, Tensor]:
        """The score, and the influence of each of the `sample` rows, `(r,)` float64 on the CPU.

        Raises:
            ValueError: No batch came.
        """
        if self._kept is None:
            raise ValueError("the model gave no features")
        fitted: LogME | HScore
        match self.metric:
            case "leep":
                leep = Leep.fit(self._kept, self.targets)
                return leep.score, leep.influence[self.sample].cpu()
            case "nce":
                nce = Nce.fit(self._kept, self.targets)
                return nce.score, nce.influence[self.sample].cpu()
            case "logme":
                fitted = LogME.from_statistics(self.statistics)
            case _:
                shrunk = self.metric == "regularized_h_score"
                fitted = HScore.from_statistics(self.statistics, regularized=shrunk)
        return fitted.score, fitted.influence(self._kept, self.targets[self.sample]).cpu()

    def _keep(self, total: int, where: Tensor, rows: Tensor) -> None:
        if self._kept is None:
            self._kept = rows.new_empty(total, *rows.shape[1:])
        self._kept[where.to(rows.device)] = rows
