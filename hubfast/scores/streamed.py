"""Several scores from one pass over a model's outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hubfast.scores.fitted import FittedScore
from hubfast.scores.inputs import Task
from hubfast.scores.registry import SCORES, Metric, check_metrics
from hubfast.scores.statistics import FeatureStatistics


@dataclass(frozen=True, eq=False)
class Scored:
    """A score, and how it moves with its samples."""

    score: float
    influence: Tensor  # of each of the `sample` rows, (r,) float64 on the CPU
    count: int  # samples that the score is of


class Rows(NamedTuple):
    """Samples that are treated in a special way: positions `(k,)` int64 ascending."""

    kept: Tensor  # their features are kept
    sample: Tensor  # of these, which must be in `kept`, the influence is wanted


class StreamedScores:
    """Takes batches of one model's outputs; `score` gives the scores.

    Keeps no more than the metrics need: FeatureStatistics for LogME and the H-scores, the features
    of the `kept` rows for scores that need samples and of the `sample` rows for influences, the
    source probabilities of all samples for LEEP (n x Cs float32: it needs them a second time) or
    only the source labels for NCE. What is kept is allocated once: one small piece kept of every
    batch would scatter the heap, and memory would grow with the number of batches.

    Args:
        metrics: The scores that will be asked for.
        targets: The targets of all samples, as `as_targets` returns them.
        task: The task that the targets pose.
        rows: The samples whose features are kept.
    """

    def __init__(self, metrics: Sequence[Metric], targets: Tensor, task: Task, rows: Rows):
        check_metrics(metrics, task)
        self.metrics, self.targets, self.task = tuple(metrics), targets, task
        self.rows = rows
        self.statistics = FeatureStatistics(task)
        self._every = torch.arange(len(targets), device=targets.device)
        self._needs = {SCORES[metric].needs for metric in self.metrics}
        self._features = rows.kept if "samples" in self._needs else rows.sample
        self._buffers: dict[str, Tensor] = {}
        self._count = 0
        self._no_logits = False

    def update(self, index: Tensor, features: Tensor, logits: Tensor | None) -> None:
        """Adds the outputs for the samples at `index`, ascending.

        Raises:
            ValueError: Every metric needs the source classifier's logits, and there are none.
        """
        self._count += len(index)
        if self._needs & {"logits", "labels"}:
            self._add_logits(index, logits)
        if "statistics" in self._needs:
            self.statistics.update(features, self.targets[index])
        if self._needs & {"statistics", "samples"}:
            self._keep("features", self._features, index, features)

    def score(
        self, metric: Metric, *, parameters: int | None = None, imagenet: float | None = None
    ) -> Scored:
        """Gives one of the metrics.

        Args:
            metric: One of those that were given at the start.
            parameters: The model's number of parameters, for the static prior.
            imagenet: The model's top-1 accuracy on ImageNet in percent, for the ImageNet prior.

        Raises:
            ValueError: No batch came, or what came does not have this score.
        """
        if not self._count:
            raise ValueError("the model gave no features")
        record, sample = SCORES[metric], self.rows.sample
        if record.needs_source and self._no_logits:
            raise ValueError(_needs_logits(metric))
        fitted: FittedScore
        count = self._count
        match record.needs:
            case "nothing":
                fitted = record.fit(parameters=parameters, imagenet=imagenet)
                influence = fitted.influence(sample)
            case "logits" | "labels":
                fitted = record.fit(self._buffers[record.needs], self.targets)
                influence = fitted.influence(sample)
            case "samples":
                kept = self._buffers["features"]
                fitted = record.fit_samples(kept, self.targets[self._features], self.task)
                influence = fitted.influence(torch.searchsorted(self._features, sample))
                count = len(kept)
            case "statistics":
                fitted = record.fit(self.statistics)
                chosen = torch.searchsorted(self._features, sample)
                kept = self._buffers["features"]
                kept = kept[chosen.to(kept.device)]
                influence = fitted.influence(kept, self.targets[sample])
        return Scored(fitted.score, influence.cpu(), count)

    def _add_logits(self, index: Tensor, logits: Tensor | None) -> None:
        if logits is None:
            self._no_logits = True
            if self._needs <= {"logits", "labels"}:
                raise ValueError(_needs_logits(self.metrics[0]))
            return
        if "logits" in self._needs:
            self._keep("logits", self._every, index, logits.float().softmax(1))
        if "labels" in self._needs:
            self._keep("labels", self._every, index, logits.argmax(1))

    def _keep(self, name: str, positions: Tensor, index: Tensor, rows: Tensor) -> None:
        """Copies those of `rows`, the outputs for `index`, that are at `positions`."""
        if name not in self._buffers:
            self._buffers[name] = rows.new_empty(len(positions), *rows.shape[1:])
        wanted = torch.isin(positions, index).nonzero().flatten()
        chosen = torch.searchsorted(index, positions[wanted])
        self._buffers[name][wanted.to(rows.device)] = rows[chosen.to(rows.device)]


def _needs_logits(metric: str) -> str:
    return f"metric {metric!r} needs the source classifier's logits, and the model gives none"
