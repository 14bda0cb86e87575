"""LogME: the logarithm of the maximum evidence of a Bayesian linear model on features.

The sources are You, Liu, Wang, Long, "LogME: Practical Assessment of Pre-trained Models for
Transfer Learning", ICML 2021, Eq. 2, and "Ranking and Tuning Pre-trained Models", JMLR 2022. The
maximum here is exact and converged (`reference.evidence`); the papers stop a fixed-point iteration
early.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from hubfast.ops.reference import EvidenceMaximum
from hubfast.scores.inputs import Task, as_features, as_targets, like
from hubfast.scores.logme import thuml
from hubfast.scores.logme.clusters_out import missed_without
from hubfast.scores.logme.solve import System, columns_of, solve
from hubfast.scores.logme.spectral_system import EPSILON, decompose
from hubfast.scores.scale import times_power_of_two
from hubfast.scores.score import ANY_TASK, NATS, Score
from hubfast.scores.statistics import FeatureStatistics
from hubfast.utils.threads import one_torch_thread


def logme(
    features: Any,
    targets: Any,
    *,
    task: Task | None = None,
    compat: Literal["thuml"] | None = None,
) -> float:
    """LogME of `features` for `targets`: mean over target columns of max log-evidence per sample.

    It is in nats per sample, higher is better. It has no bounds, and is comparable only between
    models on the same samples and targets: it rises with the number of classes and shifts by
    `-log c` when regression targets are scaled by c. It does not change when features are scaled.
    As published, there is no intercept and nothing is centred.

    Args:
        features: `(n, D)` tensor or array, any float dtype, CPU or CUDA.
        targets: `(n,)` integer classes; `(n, C)` integers 0/1 for multi-label; floats `(n,)` or
            `(n, C)` for regression.
        task: What the targets are; None to tell from their dtype and shape.
        compat: `"thuml"` reproduces the numbers of the public implementation, early stop and
            errors for n < D and for absent class ids included.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or content; the message names it.
    """
    return LogME.fit(features, targets, task=task, compat=compat).score


@dataclass(frozen=True, eq=False)
class LogME:
    """A fitted LogME, which gives the score, posterior means and predictions."""

    score: float  # mean of column_scores
    column_scores: Tensor  # log-evidence per sample of each class or target column, (C,)
    alpha: Tensor  # prior precision in the features' scale, (C,); infinite: no signal was found
    beta: Tensor  # noise precision, (C,)
    t: Tensor  # the alpha / beta of the posterior mean, (C,)
    classes: Tensor | None  # class ids for classification, (C,) int64
    task: Task
    count: int  # n
    _system: System = field(repr=False)
    _exponent: int = field(default=0, repr=False)  # the features' scale: `hubfast.scores.scale`

    @classmethod
    def fit(
        cls,
        features: Any,
        targets: Any,
        *,
        task: Task | None = None,
        compat: Literal["thuml"] | None = None,
    ) -> "LogME":
        """Fits features and targets; the arguments are those of `logme`."""
        x = as_features(features, finite=False)  # `update` checks this
        y, task = as_targets(targets, len(x), task)
        stats = FeatureStatistics(task).update(x, y)
        x = times_power_of_two(x, -stats.exponent)
        return cls._fit(stats, compat, (x, y.to(x.device)))

    @classmethod
    def from_statistics(
        cls, stats: FeatureStatistics, *, compat: Literal["thuml"] | None = None
    ) -> "LogME":
        """Fits what `stats` has summed up.

        Raises:
            ValueError: There are no samples, there is a single class, a regression target is zero
                throughout, or targets are so large that their squares overflow.
        """
        return cls._fit(stats, compat, None)

    @classmethod
    @one_torch_thread()
    def _fit(
        cls,
        stats: FeatureStatistics,
        compat: Literal["thuml"] | None,
        samples: tuple[Tensor, Tensor] | None,
    ) -> "LogME":
        if compat not in (None, "thuml"):
            raise ValueError(f"compat must be None or 'thuml', got {compat!r}")
        columns = columns_of(stats)
        if compat is None:
            return cls.of_solution(stats, columns, *solve(stats, columns, samples))
        classes = None if stats.classes is None else stats.classes[columns]
        spectral = decompose(stats, columns)
        if classes is not None:
            spectral, classes = thuml.with_absent_classes(spectral, classes)
        scores, alpha, beta, t = thuml.fixed_points(spectral, stats.count, len(stats.feature_sum))
        assert stats.task is not None
        known = (classes, stats.task, stats.count, spectral, stats.exponent)
        return cls(float(scores.mean()), scores, alpha, beta, t, *known)

    @classmethod
    def of_solution(
        cls, stats: FeatureStatistics, columns: Tensor, found: EvidenceMaximum, system: System
    ) -> "LogME":
        """Makes a fit of what `hubfast.scores.logme.solve.solve` gave for `columns` of `stats`."""
        scores, t, quadratic = found
        beta = stats.count / quadratic
        classes = None if stats.classes is None else stats.classes[columns]
        assert stats.task is not None
        known = (classes, stats.task, stats.count, system, stats.exponent)
        return cls(float(scores.mean()), scores, t * beta, beta, t, *known)

    @property
    def rank(self) -> int:
        """Numerical rank of the features."""
        return self._system.rank

    @cached_property
    def means(self) -> Tensor:
        """Posterior means of the weights, `(C, D)` float64."""
        return times_power_of_two(self._means, -self._exponent)

    @cached_property
    def _means(self) -> Tensor:
        """Those of the features that `_features` gives."""
        return self._system.means(self.t)

    def decision_function(self, features: Any) -> Any:
        """Posterior mean of every target column for features `(r, D)`, as `(r, C)` float64."""
        x = self._features(features)
        return like(x @ self._means.T, features)

    def predict(self, features: Any, return_std: bool = False) -> Any:
        """Predicted targets of new samples, as the kind of array that was given.

        Args:
            features: Features of the new samples, `(r, D)`.
            return_std: Whether to return the predictive std of every target column, `(r, C)`, as
                well: sqrt(1/beta + x' A^-1 x), noise included.

        Returns:
            Class ids `(r,)` for classification, 0/1 `(r, C)` for multi-label, means `(r, C)` for
            regression; with `return_std`, a pair of these and the std.
        """
        values = self._features(features) @ self._means.T
        match self.task:
            case "classification":
                assert self.classes is not None
                predicted = self.classes[values.to(self.classes.device).argmax(1)]
            case "multilabel":
                predicted = (values > 0.5).long()
            case _:
                predicted = values
        if not return_std:
            return like(predicted, features)
        leverage = self._system.leverage(self._features(features), self.t)
        std = ((1 + leverage) / self.beta).sqrt()
        return like(predicted, features), like(std, features)

    def influence(self, features: Any, targets: Any) -> Tensor:
        """What each fitted sample adds to the evidence, `(r,)` for r of the n samples.

        It is log p(y_i | all other samples) at the fitted alpha and beta, averaged over columns:
        with residual e and leverage h, log N(e / (1 - h); 0, 1 / (beta (1 - h))). By the chain rule
        of probability that is the evidence less the evidence without sample i, the jackknife's
        pseudo-value of the score, so the values' std over sqrt(n) is the score's standard error.
        """
        x, y = self._samples(features, targets)
        error = y - x @ self._means.T
        leverage = self._system.leverage(x, self.t)
        free = (1 - leverage).clamp(min=EPSILON)  # 1 - h
        surprise = self.beta * error.square() / free
        by_column = (self.beta * free).log() - math.log(2 * math.pi) - surprise
        return 0.5 * by_column.mean(1)

    def leave_one_out(
        self, features: Any, targets: Any, clusters: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What is predicted of r of the n samples by all others, at the fitted t.

        Allen, Technometrics 1974: with prediction f and leverage h, (f - h y) / (1 - h). Its error
        is round-off over 1 - h, which is small only where the model goes through all samples.

        Args:
            features: Features of fitted samples, `(r, D)`.
            targets: Their targets, as `fit` takes them.
            clusters: Which of them belong together, `(r,)`, each cluster in one piece: samples are
                predicted without all of theirs. None where each is by itself.

        Returns:
            Predictions `(r, C)` of every target column, and these columns themselves: 1 for the
            sample's class and 0 for others.
        """
        x, y = self._samples(features, targets)
        if clusters is not None:
            missed, coordinates = y - x @ self._means.T, self._system.coordinates(x, self.t)
            return y - missed_without(missed, *coordinates, clusters), y
        leverage = self._system.leverage(x, self.t)
        return (x @ self._means.T - leverage * y) / (1 - leverage).clamp(min=EPSILON), y

    def _samples(self, features: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """Features `(r, D)` and target columns `(r, C)`, both checked, in float64."""
        x = self._features(features)
        y = as_targets(targets, len(x), self.task)[0].to(x.device)
        if self.classes is not None:
            y = (y[:, None] == self.classes).double()
        return x, y

    def _features(self, features: Any) -> Tensor:
        """Checks features, and gives them in float64 on the device of the fit and in its scale."""
        x = as_features(features, width=self._means.shape[1])
        return times_power_of_two(x.to(self._means.device, torch.float64), -self._exponent)


SCORE = Score(
    name="logme",
    title="LogME",
    unit=NATS,
    range="nats per sample, unbounded",
    tasks=ANY_TASK,
    needs="statistics",
    fit=LogME.from_statistics,
    meaning=(
        "LogME is the logarithm of the evidence of a Bayesian linear model that predicts the "
        "targets from a model&rsquo;s features, at its largest over the two precisions, per "
        "sample and averaged over target columns. It is in nats per sample, higher is better, and "
        "has no bounds. Compare it only between models on the same samples and targets: it rises "
        "with the number of classes and shifts by &minus;log&nbsp;<var>c</var> when regression "
        "targets are multiplied by <var>c</var>. Its value is not an accuracy. It sees the "
        "features as they are, not what fine-tuning makes of them."
    ),
    source=(
        "You, Liu, Wang, Long: <cite>LogME: Practical Assessment of Pre-trained Models for "
        'Transfer Learning</cite>, ICML 2021. <a href="https://arxiv.org/abs/2102.11005" '
        'rel="noreferrer">arXiv:2102.11005</a>'
    ),
)
