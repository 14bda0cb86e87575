"""Several scores from one pass over a model's outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hubfast.scores.hscore import HScore
from hubfast.scores.inputs import Task
from hubfast.scores.leep import Leep
from hubfast.scores.logme.logme import LogME
from hubfast.scores.nce import Nce
from hubfast.scores.registry import (
    NEED_LOGITS,
    NEED_SAMPLES,
    NEED_STATISTICS,
    Metric,
    check_metrics,
    sample_score,
)
from hubfast.scores.static import imagenet_prior, static_prior
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
        metrics: Which scores.
        targets: Of all samples, as `as_targets` returns them.
        task: What they pose.
        rows: Which samples are kept.
    """

    def __init__(self, metrics: Sequence[Metric], targets: Tensor, task: Task, rows: Rows):
        check_metrics(metrics, task)
        self.metrics, self.targets, self.task = tuple(metrics), targets, task
        self.rows = rows
        self.statistics = FeatureStatistics(task)
        self._every = torch.arange(len(targets), device=targets.device)
        self._features = rows.kept if set(metrics) & {*NEED_SAMPLES} else rows.sample
        self._buffers: dict[str, Tensor] = {}
        self._count = 0
        self._no_logits = False

    def update(self, index: Tensor, features: Tensor, logits: Tensor | None) -> None:
        """Adds the outputs for the samples at `index`, ascending.

        Raises:
            ValueError: Every metric needs the source classifier's logits, and there are none.
        """
        self._count += len(index)
        wanted = set(self.metrics)
        if wanted & {*NEED_LOGITS}:
            self._add_logits(index, logits)
        if wanted & {*NEED_STATISTICS}:
            self.statistics.update(features, self.targets[index])
        if wanted & {*NEED_STATISTICS, *NEED_SAMPLES}:
            self._keep("features", self._features, index, features)

    def score(
        self, metric: Metric, *, parameters: int | None = None, imagenet: float | None = None
    ) -> Scored:
        """One of the metrics.

        Args:
            metric: Which.
            parameters: Of the model, for the static prior.
            imagenet: The model's top-1 accuracy there, percent, for that prior.

        Raises:
            ValueError: No batch came, or what came does not have this score.
        """
        if not self._count:
            raise ValueError("the model gave no features")
        if metric in NEED_LOGITS and self._no_logits:
            raise ValueError(_needs_logits(metric))
        sample = self.rows.sample
        if metric in ("parameters", "imagenet"):
            by_size = metric == "parameters"
            constant = static_prior(parameters) if by_size else imagenet_prior(imagenet)
            influence = torch.full((len(sample),), constant, dtype=torch.float64, device="cpu")
            return Scored(constant, influence, self._count)
        if metric == "leep":
            leep = Leep.fit(self._buffers["probabilities"], self.targets)
            return Scored(leep.score, leep.influence[sample].cpu(), self._count)
        if metric == "nce":
            nce = Nce.fit(self._buffers["labels"], self.targets)
            return Scored(nce.score, nce.influence[sample].cpu(), self._count)
        kept = self._buffers["features"]
        chosen = torch.searchsorted(self._features, sample)
        if metric in NEED_SAMPLES:
            found = sample_score(metric, kept, self.targets[self._features], self.task)
            return Scored(found.score, found.influence[chosen].cpu(), len(kept))
        fitted: LogME | HScore
        if metric == "logme":
            fitted = LogME.from_statistics(self.statistics)
        else:
            shrunk = metric == "regularized_h_score"
            fitted = HScore.from_statistics(self.statistics, regularized=shrunk)
        influence = fitted.influence(kept[chosen.to(kept.device)], self.targets[sample]).cpu()
        return Scored(fitted.score, influence, self._count)

    def _add_logits(self, index: Tensor, logits: Tensor | None) -> None:
        if logits is None:
            self._no_logits = True
            if set(self.metrics) <= {*NEED_LOGITS}:
                raise ValueError(_needs_logits(self.metrics[0]))
            return
        if "leep" in self.metrics:
            self._keep("probabilities", self._every, index, logits.float().softmax(1))
        if "nce" in self.metrics:
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
