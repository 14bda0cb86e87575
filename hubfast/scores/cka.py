"""CKA: how alike the geometry of the features is to that of the targets.

Kornblith, Norouzi, Lee, Hinton: "Similarity of Neural Network Representations Revisited",
ICML 2019; with the linear kernel.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hubfast.scores.inputs import Task, as_features, as_targets
from hubfast.scores.scale import times_power_of_two
from hubfast.scores.score import ANY_TASK, Score
from hubfast.scores.statistics import FeatureStatistics


def cka(features: Any, targets: Any, *, task: Task | None = None) -> float:
    """Linear CKA of centred features X and targets Y: |Y'X|^2 / (|X'X| |Y'Y|), Frobenius norms.

    Classes are one-hot. For regression and multi-label it is the mean over the target columns, so
    that their scales do not matter. Between 0 and 1, higher is better; features rotated or scaled
    as a whole score the same. It misleads with few samples: below n = D even random features score
    well above 0, and wide ones more alike. It asks that the directions of most variance tell the
    targets, where a linear head would do with any.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes; `(n, C)` 0/1 for multi-label; floats for regression.
        task: As in `logme`.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return CKA.fit(features, targets, task=task).score


@dataclass(frozen=True, eq=False)
class CKA:
    """A fitted CKA. Moments are means over the n samples, centred."""

    score: float  # mean of column_scores
    column_scores: Tensor  # of each target column, (C,); for classes of all together, (1,)
    task: Task
    classes: Tensor | None  # (C,) int64 for classification
    _mean: Tensor = field(repr=False)  # of the features, (D,)
    _target_mean: Tensor = field(repr=False)  # (C,)
    _cross: Tensor = field(repr=False)  # covariance of features and targets, (D, C)
    _spread: "_Spread" = field(repr=False)
    _target_spread: Tensor = field(repr=False)  # |cov(y)| of each column, or (1,) of all classes
    _exponent: int = field(default=0, repr=False)  # of 2, by which features are divided

    @classmethod
    def fit(cls, features: Any, targets: Any, *, task: Task | None = None) -> "CKA":
        """Fits features and targets; arguments as in `cka`."""
        return cls.from_statistics(FeatureStatistics(task).update(features, targets))

    @classmethod
    def from_statistics(cls, stats: FeatureStatistics) -> "CKA":
        """Fits what `stats` has summed up.

        Raises:
            ValueError: No samples, a single class, or a target column that does not vary.
        """
        if stats.count == 0 or stats.task is None:
            raise ValueError("no samples were counted yet")
        mean, target_mean = stats.feature_sum / stats.count, stats.target_sum / stats.count
        cross = (stats.cross / stats.count - torch.outer(target_mean, mean)).T
        spread = _Spread.of(stats, mean)
        if stats.classes is not None:
            target_spread = _spread_of_classes(target_mean, stats.classes)
            explained = cross.square().sum()[None]
        else:
            target_spread = _spread_of_columns(stats, target_mean)
            explained = cross.square().sum(0)
        scores = torch.zeros_like(explained)
        if spread.norm > 0:
            scores = (explained / (spread.norm * target_spread)).clamp(max=1)  # but for round-off
        return cls(
            score=float(scores.mean()),
            column_scores=scores,
            task=stats.task,
            classes=stats.classes,
            _mean=mean,
            _target_mean=target_mean,
            _cross=cross,
            _spread=spread,
            _target_spread=target_spread,
            _exponent=stats.exponent,
        )

    def influence(self, features: Any, targets: Any) -> Tensor:
        """First-order effect of each sample's weight on the score, around the score, `(r,)`.

        The values' std over sqrt(n) is the score's standard error. A sample moves each covariance S
        by its own product less S, so of the score s = |S_xy|^2 / (|S_xx| |S_yy|) the change is
        2 x'S_xy y / (|S_xx| |S_yy|) - s x'S_xx x / |S_xx|^2 - s y'S_yy y / |S_yy|^2.
        """
        x = as_features(features, width=len(self._mean)).to(self._mean)
        x = times_power_of_two(x, -self._exponent) - self._mean
        y = as_targets(targets, len(x), self.task)[0].to(x.device)
        if self._spread.norm == 0:
            return torch.zeros(len(x), dtype=x.dtype, device=x.device)
        along, own = self._of_classes(x, y) if self.classes is not None else self._of_columns(x, y)
        along = along / (self._spread.norm * self._target_spread)
        lost = self._spread.quadratic(x)[:, None] / self._spread.norm**2 + own
        return (self.column_scores * (1 - lost) + 2 * along).mean(1)

    def _of_classes(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """x'S_xy y and y'S_yy y / |S_yy|^2 of one-hot targets, `(r, 1)` each.

        S_yy = diag(p) - pp' is not formed: there may be many classes.
        """
        assert self.classes is not None
        index, p = torch.searchsorted(self.classes, y)[:, None], self._target_mean
        projected = x @ self._cross
        along = projected.gather(1, index) - (projected @ p)[:, None]
        square = p.square().sum()
        share = p[index]
        own = share - 3 * share.square() + 2 * share * square + (p**3).sum() - square.square()
        return along, own / self._target_spread.square()

    def _of_columns(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """x'S_xy y and y^2 / var(y) of each target column, `(r, C)` each."""
        centred = y.to(x) - self._target_mean
        return (x @ self._cross) * centred, centred.square() / self._target_spread


@dataclass(frozen=True, eq=False)
class _Spread:
    """The features' covariance S by the smaller of its sides."""

    matrix: Tensor  # S (D, D), or R (n, D) with R'R = S where the rows are kept
    by_rows: bool
    norm: float  # |S|; 0 for features that are constant but for round-off

    @classmethod
    def of(cls, stats: FeatureStatistics, mean: Tensor) -> "_Spread":
        rows, count, width = stats.rows, stats.count, len(mean)
        if rows is not None:
            matrix = (rows[0] - mean) / count**0.5
            norm = float((matrix @ matrix.T).norm())
        else:
            upper = stats.gram.triu() / count - torch.outer(mean, mean).triu()
            matrix = upper + upper.triu(1).T
            norm = float(matrix.norm())
        noise = float(mean @ mean) * max(count, width) * torch.finfo(mean.dtype).eps
        return cls(matrix, rows is not None, norm if norm > noise else 0.0)

    def quadratic(self, x: Tensor) -> Tensor:
        """x'Sx of each row, `(r,)`."""
        if self.by_rows:
            return (x @ self.matrix.T).square().sum(1)
        return ((x @ self.matrix) * x).sum(1)


def _spread_of_classes(shares: Tensor, classes: Tensor) -> Tensor:
    """|diag(p) - pp'|, `(1,)`."""
    if int((shares > 0).sum()) < 2:
        raise ValueError(f"targets must have at least 2 classes, got {classes.tolist()}")
    square = shares.square().sum()
    return (square - 2 * (shares**3).sum() + square.square()).sqrt()[None]


def _spread_of_columns(stats: FeatureStatistics, mean: Tensor) -> Tensor:
    """The variance of every target column, `(C,)`."""
    second = stats.target_square_sum / stats.count
    if not bool(torch.isfinite(second).all()):
        raise ValueError("targets must be below 1e150: their squares overflow float64")
    variance = second - mean.square()
    constant = variance <= second * stats.count * torch.finfo(second.dtype).eps
    if bool(constant.any()):
        columns = constant.nonzero().flatten().tolist()
        raise ValueError(f"targets must vary, got constant columns: {columns}")
    return variance


SCORE = Score(
    name="cka",
    title="CKA",
    unit="",
    range="0 to 1",
    tasks=ANY_TASK,
    needs="statistics",
    fit=CKA.from_statistics,
    meaning=(
        "CKA, centred kernel alignment with the linear kernel, is how alike the samples lie to "
        "each other in the features and in the targets: |<var>Y</var>&prime;<var>X</var>|² over "
        "|<var>X</var>&prime;<var>X</var>|&nbsp;|<var>Y</var>&prime;<var>Y</var>| in Frobenius "
        "norms, both centred, classes one-hot (for regression and multi-label the mean over "
        "target columns). It has no unit, lies between 0 and 1, and higher is better. With fewer "
        "samples than features it is well above 0 for any features. It asks that the directions "
        "of most variance tell the targets, where a linear head would do with any direction."
    ),
    source=(
        "Kornblith, Norouzi, Lee, Hinton: <cite>Similarity of Neural Network Representations "
        "Revisited</cite>, ICML 2019. <a "
        'href="https://arxiv.org/abs/1905.00414" rel="noreferrer">arXiv:1905.00414</a>'
    ),
)
