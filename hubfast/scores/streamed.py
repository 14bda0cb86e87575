"""Several scores from one pass over a model's outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hubfast.scores.clustered import cluster_influences, one_of_each, whole_ones
from hubfast.scores.fitted import FittedScore
from hubfast.scores.inputs import Task
from hubfast.scores.logme.expected import Expected, expected
from hubfast.scores.logme.logme import LogME
from hubfast.scores.registry import SCORES, Metric, check_metrics
from hubfast.scores.statistics import FeatureStatistics

INTERVAL_SAMPLES = 512  # samples whose influence is computed: its spread is then known within 3 %
TRIED_SAMPLES = 128  # samples that a model is run on whose score needs none
KEPT_SAMPLES = 2048  # samples whose features are kept for scores that need them: 16 MiB at D = 2048
OF_OUTPUTS = {"logits", "labels", "prompts"}  # needs of scores that are of a classifier's output


@dataclass(frozen=True, eq=False)
class Scored:
    """A score, and how it moves with its samples."""

    score: float
    influence: Tensor  # of the first samples, or of their clusters, (r,) float64 on the CPU
    count: int  # samples that the score is of


class StreamedScores:
    """Takes one model's outputs in the order of the samples; `score` gives the scores so far.

    Keeps no more than the metrics need: FeatureStatistics for LogME and the H-scores, the features
    of the first samples for scores that need samples and for influences, the source probabilities
    of all samples for LEEP (n x Cs float32: it needs them a second time) or only the source labels
    for NCE. As the order is random with classes in proportion, the first samples are a fair part
    of all. Samples may come in clusters, such as the words of sentences: influences are then summed
    within each, of as many samples as are kept, since a score moves with whole clusters. What is
    kept is allocated once: one small piece kept of every batch would scatter the
    heap, and memory would grow with the number of batches.

    Args:
        metrics: The scores that will be asked for.
        task: The task that the targets pose.
        count: How many samples will come at most.
        kept: How many samples a score that needs samples is of, at most.
        interval: How many samples the influence is computed of, at most; no more than `kept`.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        task: Task,
        count: int,
        *,
        kept: int = KEPT_SAMPLES,
        interval: int = INTERVAL_SAMPLES,
    ):
        check_metrics(metrics, task)
        self.metrics, self.task = tuple(metrics), task
        self.statistics = FeatureStatistics(task)
        self.count = 0
        self._all, self._most, self._interval = count, kept, min(interval, kept)
        self._needs = {SCORES[metric].needs for metric in self.metrics}
        self._kept = min(kept if "samples" in self._needs else self._interval, count)
        self._buffers: dict[str, Tensor] = {}
        self._no_logits = False
        self._logme: LogME | None = None  # of the samples so far

    @property
    def needs_statistics(self) -> bool:
        """Whether some score is of the sums over all features."""
        return "statistics" in self._needs

    @property
    def needs_features(self) -> bool:
        """Whether some score is of the features."""
        return bool(self._needs & {"statistics", "samples"})

    @property
    def needs_logits(self) -> bool:
        """Whether some score is of the source classifier's output."""
        return bool(self._needs & OF_OUTPUTS)

    def update(
        self,
        targets: Tensor,
        features: Tensor | None,
        logits: Tensor | None,
        *,
        counted: bool = False,
        clusters: Tensor | None = None,
    ) -> None:
        """Adds the outputs for the next samples.

        Args:
            targets: Their targets, as `as_targets` returns them.
            features: `(b, D)`; None where only what the statistics hold is needed of them.
            logits: `(b, Cs)` of the source classes; None where the model gives none.
            counted: Whether `statistics` has these samples already.
            clusters: Which of the samples belong together, `(b,)`, each cluster in one piece; None
                where each is drawn by itself.

        Raises:
            ValueError: Every metric needs the source classifier's logits, and there are none.
        """
        if not len(targets):
            return
        self._logme = None
        if clusters is not None:  # the spread of few clusters is hardly known
            self._interval, self._kept = self._most, min(self._most, self._all)
        if self.needs_logits:
            self._add_logits(logits)
        if features is not None:
            if self.needs_statistics and not counted:
                self.statistics.update(features, targets)
            if self.needs_features:
                self._keep("features", self._kept, features)
        self._keep("targets", self._all, targets)
        if clusters is not None:
            self._keep("clusters", self._kept, clusters.cpu())
        self.count += len(targets)

    def score(
        self, metric: Metric, *, parameters: int | None = None, imagenet: float | None = None
    ) -> Scored:
        """Gives one of the metrics, of the samples so far.

        Args:
            metric: One of those that were given at the start.
            parameters: The model's number of parameters, for the static prior.
            imagenet: The model's top-1 accuracy on ImageNet in percent, for the ImageNet prior.

        Raises:
            ValueError: No sample came, or what came does not have this score.
        """
        record, count = SCORES[metric], self.count
        if not count and record.needs != "nothing":
            raise ValueError("the model gave no features")
        if record.needs_source and self._no_logits:
            raise ValueError(_needs_logits(metric))
        fitted: FittedScore
        first = torch.arange(min(self._interval, count), device="cpu")
        match record.needs:
            case "nothing":
                fitted = record.fit(parameters=parameters, imagenet=imagenet)
                influence = fitted.influence(first)
            case "logits" | "labels" | "prompts":
                kind = "labels" if record.needs == "labels" else "logits"
                fitted = record.fit(self._first(kind), self._first("targets"))
                influence = fitted.influence(first)
            case "samples":
                count = min(self._kept, count)
                kept, targets = self._first("features", count), self._first("targets", count)
                clusters = self._clusters(count)
                fitted = record.fit_samples(kept, targets, self.task, clusters)
                influence = fitted.influence(first)
            case "statistics":
                fitted = record.fit(self.statistics.copy())  # more samples may come
                if isinstance(fitted, LogME):
                    self._logme = fitted
                kept = self._first("features", len(first))
                influence = fitted.influence(kept, self._first("targets", len(first)))
        influence = influence.cpu()
        if (which := self._clusters(len(first))) is not None:
            of_clusters = one_of_each if record.leaves_out else cluster_influences
            influence = of_clusters(influence, which, cut=len(first) < self.count)
        return Scored(fitted.score, influence, count)

    def expected(self) -> Expected | None:
        """What a linear model on the features gives for the first samples, each left out.

        Of clusters each is left out whole. None where no score is of the features, so that they are
        not kept.

        Raises:
            ValueError: The evidence has no model of these samples, such as of a single class.
        """
        if not self.needs_features or not self.count:
            return None
        fit = self._logme or self._fit_evidence()
        count, targets = min(self._interval, self.count), self._first("targets", fit.count)
        if (clusters := self._clusters(count)) is not None:
            count = whole_ones(clusters, cut=count < self.count)
            clusters = clusters[:count]
        if fit.classes is None:
            shares = targets.double().mean(0)
        else:
            shares = (targets.to(fit.classes)[:, None] == fit.classes).double().mean(0)
        return expected(fit, self._first("features", count), targets[:count], shares, clusters)

    def _clusters(self, count: int) -> Tensor | None:
        """Those of the first samples; None where each sample is by itself."""
        return self._first("clusters", count) if "clusters" in self._buffers else None

    def _fit_evidence(self) -> LogME:
        if self.needs_statistics:
            return LogME.from_statistics(self.statistics.copy())
        count = min(self._kept, self.count)
        features = self._first("features", count)
        return LogME.fit(features, self._first("targets", count), task=self.task)

    def forget(self) -> None:
        """Gives up what is kept: a model's sums and features, once it was scored for good."""
        self.statistics, self._logme = FeatureStatistics(self.task), None
        self._buffers = {}

    def _first(self, name: str, count: int | None = None) -> Tensor:
        """What is kept by this name of the first samples, by default of all so far."""
        return self._buffers[name][: self.count if count is None else count]

    def _add_logits(self, logits: Tensor | None) -> None:
        if logits is None:
            self._no_logits = True
            if self._needs <= OF_OUTPUTS:
                raise ValueError(_needs_logits(self.metrics[0]))
            return
        if self._needs & {"logits", "prompts"}:
            self._keep("logits", self._all, logits.float().softmax(1))
        if "labels" in self._needs:
            self._keep("labels", self._all, logits.argmax(1))

    def _keep(self, name: str, most: int, rows: Tensor) -> None:
        """Copies what belongs to the first `most` samples."""
        if name not in self._buffers:
            self._buffers[name] = rows.new_empty(most, *rows.shape[1:])
        room = self._buffers[name][self.count : self.count + len(rows)]
        room.copy_(rows[: len(room)])


def useful_samples(metrics: Sequence[Metric]) -> int | None:
    """How many samples these scores are of at most; None for as many as there are.

    A model that is scored by what is known of it is still run on a few: it may fail.
    """
    needs = {SCORES[metric].needs for metric in metrics}
    if needs & {"statistics", *OF_OUTPUTS}:
        return None
    return KEPT_SAMPLES if "samples" in needs else TRIED_SAMPLES


def _needs_logits(metric: str) -> str:
    return f"metric {metric!r} needs the source classifier's logits, and the model gives none"
