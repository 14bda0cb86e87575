"""The H-score and its regularised form.

The H-score is that of Bao et al., "An Information-Theoretic Approach to Transferability in Task
Transfer Learning", ICIP 2019; the regularised form is that of Ibrahim, Ponomareva, Mazumder, "Newer
is not always better", ECML PKDD 2022.
"""

import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hubfast import ops
from hubfast.ops.linalg.bases import Basis
from hubfast.scores.inputs import as_features, as_targets
from hubfast.scores.scale import times_power_of_two
from hubfast.scores.score import CLASSES, Score
from hubfast.scores.statistics import FeatureStatistics

LEAST = 0.05  # of a sample that is left of x'S^-1 x without it: with n <= D nothing may be


def h_score(features: Any, targets: Any) -> float:
    """H-score: tr(cov(x)^+ cov(E[x | y])), how much of the features' variance classes explain.

    It is between 0 and min(C - 1, D), higher is better. With n <= D + 1 it is C - 1 for every model
    in general position and says nothing, of which a warning tells.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or content; the message names it.
    """
    return HScore.fit(features, targets).score


def regularized_h_score(features: Any, targets: Any) -> float:
    """H-score with Ledoit-Wolf shrinkage of the covariance: stable where n is near or below D.

    It is between 0 and C - 1, higher is better. Both covariances are sums divided by n, as in
    scikit-learn's `ledoit_wolf`; public code divides that of the classes by n - 1, and so exceeds
    C - 1 by a factor of n / (n - 1). The arguments are those of `h_score`.
    """
    return HScore.fit(features, targets, regularized=True).score


@dataclass(frozen=True, eq=False)
class HScore:
    """A fitted H-score. Vectors of feature space are kept in the covariance's eigenbasis."""

    score: float
    shrinkage: float  # 0 for the plain score
    classes: Tensor  # (C,)
    count: int  # n
    _mean: Tensor = field(repr=False)  # of the features, (D,)
    _basis: Basis = field(repr=False)
    _covariance: Tensor = field(repr=False)  # eigenvalues before shrinkage, (D,)
    _class_means: Tensor = field(repr=False)  # centred, (D, C)
    _weights: Tensor = field(repr=False)  # (shrunk covariance)^+ class means, (D, C)
    _shares: Tensor = field(repr=False)  # class counts / degrees of freedom, (C,)
    _exponent: int = field(default=0, repr=False)  # of 2, by which features are divided

    @classmethod
    def fit(cls, features: Any, targets: Any, *, regularized: bool = False) -> "HScore":
        """Fits features and targets, which are those of `h_score`."""
        stats = FeatureStatistics("classification").update(features, targets)
        return cls.from_statistics(stats, regularized=regularized)

    @classmethod
    def from_statistics(cls, stats: FeatureStatistics, *, regularized: bool = False) -> "HScore":
        """Fits what `stats` has summed up.

        Raises:
            ValueError: The targets are not classes, or there are fewer than two samples.
        """
        if stats.classes is None:
            raise ValueError(f"H-score needs classification targets, got {stats.task}")
        if stats.count < 2:
            raise ValueError(f"H-score needs at least 2 samples, got {stats.count}")
        width = len(stats.feature_sum)
        silence = None if regularized else SCORE.says_nothing(stats.count, width)
        if silence is not None:
            warnings.warn(silence, stacklevel=3)
        present = stats.target_sum > 0
        counts = stats.target_sum[present]
        mean = stats.feature_sum / stats.count
        class_means = (stats.cross[present] / counts[:, None] - mean).T
        scatter = stats.gram.triu() - stats.count * torch.outer(mean, mean).triu()
        found = ops.spectrum(scatter, class_means)
        # Centring subtracts n mean mean' and leaves round-off of that size, too.
        scale = max(float(found.eigenvalues[-1]), stats.count * float(mean @ mean))
        noise = scale * max(stats.count, width) * torch.finfo(scatter.dtype).eps
        degrees = stats.count if regularized else stats.count - 1  # as in ledoit_wolf and in np.cov
        covariance = torch.where(found.eigenvalues > noise, found.eigenvalues, 0) / degrees
        shrinkage = _ledoit_wolf(stats, mean, covariance) if regularized else 0.0
        weights = found.projections * _shrunk_inverse(covariance, shrinkage)[:, None]
        shares = counts / degrees
        return cls(
            score=float((1 - shrinkage) * ((found.projections * weights).sum(0) @ shares)),
            shrinkage=shrinkage,
            classes=stats.classes[present],
            count=stats.count,
            _mean=mean,
            _basis=found.basis,
            _covariance=covariance,
            _class_means=found.projections,
            _weights=weights,
            _shares=shares,
            _exponent=stats.exponent,
        )

    def influence(self, features: Any, targets: Any) -> Tensor:
        """The score plus the first-order effect of each sample's weight on it, `(r,)`.

        The values' std over sqrt(n) is the score's standard error. With S the shrunk covariance, M
        the class means and W = S^-1 M, a sample x of class y moves the class means, which adds
        2 x'w_y - m_y'w_y; it moves S, by (1 - a) xx' + a |x|^2 / D; and it moves the shrinkage a.
        That is what little more of a sample does. Without it S^-1 x is 1 / (1 - h) of what it is, h
        the sample's share in x'S^-1 x / n: effects are taken that much larger, as for the errors of
        a regression by MacKinnon and White, "Some Heteroskedasticity-Consistent Covariance Matrix
        Estimators", Journal of Econometrics 1985. With few samples for many features they are then
        too large rather than too small.
        """
        x = as_features(features, width=len(self._mean)).to(self._mean)
        x = times_power_of_two(x, -self._exponent) - self._mean
        y = as_targets(targets, len(x), "classification")[0].to(x.device)
        index = torch.searchsorted(self.classes, y)
        x = self._basis.project(x)
        a, width = self.shrinkage, x.shape[1]
        length, projected = x.square().sum(1), x @ self._weights
        explained = (self._class_means * self._weights).sum(0)  # (C,)
        total = explained @ self._shares  # tr(S^-1 B)
        spread = self._weights.square() @ self._shares  # diagonal of S^-1 B S^-1, (D,)
        means = 2 * projected.gather(1, index[:, None])[:, 0] - explained[index] - total
        outer = projected.square() @ self._shares - self._covariance @ spread
        trace = length - self._covariance.sum()
        moved = means - (1 - a) * outer - a / width * trace * spread.sum()
        by_shrinkage = -total - (1 - a) * (self._covariance.mean() - self._covariance) @ spread
        effect = (1 - a) * moved + by_shrinkage * self._shrinkage_influence(x)
        return self.score + effect / (1 - self._own_share(x)).clamp(min=LEAST)

    def _own_share(self, x: Tensor) -> Tensor:
        """How much of x'S^-1 x / n is there for the sample x itself, `(r,)`, between 0 and 1."""
        inverse = _shrunk_inverse(self._covariance, self.shrinkage)
        return (1 - self.shrinkage) / self.count * x.square() @ inverse

    def _shrinkage_influence(self, x: Tensor) -> Tensor:
        """First-order effect of each sample's weight on the shrinkage, `(r,)`.

        With C the covariance, it is a = (E|x|^4 - |C|^2) / (n (|C|^2 - tr(C)^2 / D)).
        """
        length = x.square().sum(1)
        if not 0 < self.shrinkage < 1:  # A clipped shrinkage does not move.
            return torch.zeros_like(length)
        trace, square = self._covariance.sum(), self._covariance.square().sum()
        spread = square - trace.square() / len(self._covariance)
        fourth = self.shrinkage * self.count * spread + square  # E|x|^4
        d_square = 2 * (x.square() @ self._covariance - square)
        d_spread = d_square - 2 * trace * (length - trace) / len(self._covariance)
        change = length.square() - fourth - d_square - self.shrinkage * self.count * d_spread
        return change / (self.count * spread)


def _shrunk_inverse(covariance: Tensor, shrinkage: float) -> Tensor:
    """Eigenvalues `(D,)` of the shrunk covariance's pseudo-inverse, from the covariance's."""
    shrunk = (1 - shrinkage) * covariance + shrinkage * covariance.mean()
    return torch.where(shrunk > 0, 1 / shrunk, 0)


def _ledoit_wolf(stats: FeatureStatistics, mean: Tensor, covariance: Tensor) -> float:
    """The shrinkage of Ledoit and Wolf (2004).

    It depends on sum |x - mean|^4, which expands into sums that `stats` keeps.

    Args:
        stats: The sums over all samples.
        mean: Mean of the features, `(D,)`.
        covariance: Eigenvalues of the covariance, `(D,)`.
    """
    count, width = stats.count, len(mean)
    trace, square = float(covariance.sum()), float(covariance.square().sum())
    norm = float(mean @ mean)
    total = count * (trace + norm)  # sum |x|^2
    second = _quadratic(stats.gram, mean)  # sum (x'mean)^2
    along = count * norm  # sum x'mean
    quartic = (
        float(stats.quartic)
        + 4 * second
        + count * norm**2
        - 4 * float(stats.cubic @ mean)
        + 2 * norm * total
        - 4 * norm * along
    )
    delta = (square - trace**2 / width) / width
    beta = (quartic / count - square) / (width * count)
    return 0.0 if delta <= 0 else min(max(beta, 0.0), delta) / delta


def _quadratic(upper: Tensor, vector: Tensor) -> float:
    """v'G v of a vector v and a symmetric matrix G, of which `upper` holds the upper triangle."""
    full = 2 * float(vector @ (upper.triu(1) @ vector))
    return full + float((upper.diagonal() * vector.square()).sum())


def _too_few(count: int, width: int) -> str:
    # Centred, n samples span n - 1 directions; as many features explain any classes in full.
    if count > width + 1:
        return ""
    return "with n <= D + 1 it is C - 1 for every model; take regularized_h_score"


SCORE = Score(
    name="h_score",
    title="H-score",
    unit="",
    range="0 to C - 1",
    tasks=CLASSES,
    needs="statistics",
    fit=HScore.from_statistics,
    silence=_too_few,
    growth="inverse",
    meaning=(
        "The H-score is the trace of "
        "cov(<var>x</var>)⁺&thinsp;cov(E[<var>x</var>&thinsp;|&thinsp;<var>y</var>]): how much of "
        "the features&rsquo; variance the classes explain. It has no unit, lies between 0 and "
        "min(C&nbsp;&minus;&nbsp;1,&nbsp;D), and higher is better. Compare it only between models "
        "on the same samples and targets: its bound rises with the number of classes. With "
        "<var>n</var>&nbsp;≤&nbsp;D&nbsp;+&nbsp;1 it is C&nbsp;&minus;&nbsp;1 for nearly every "
        "model and says nothing; with <var>n</var> a little above D it favours wide features. The "
        "regularised H-score does not break down there."
    ),
    source=(
        "Bao, Li, Huang, Zhang, Zheng, Zamir, Guibas: <cite>An Information-Theoretic Approach to "
        "Transferability in Task Transfer Learning</cite>, ICIP 2019. <a "
        'href="https://arxiv.org/abs/2212.10082" rel="noreferrer">arXiv:2212.10082</a>'
    ),
)

REGULARIZED_SCORE = Score(
    name="regularized_h_score",
    title="Regularised H-score",
    unit="",
    range="0 to C - 1",
    tasks=CLASSES,
    needs="statistics",
    fit=partial(HScore.from_statistics, regularized=True),
    page="h_score",
    meaning=(
        "The regularised H-score is how much of the features&rsquo; variance the classes explain, "
        "with the covariance shrunk after Ledoit and Wolf so that it can be inverted with few "
        "samples. It has no unit, lies between 0 and C&nbsp;&minus;&nbsp;1, and higher is better. "
        "Compare it only between models on the same samples and targets: its bound rises with the "
        "number of classes. How strongly it shrinks depends on the samples, so scores from "
        "different numbers of samples are not comparable."
    ),
    source=(
        "Ibrahim, Ponomareva, Mazumder: <cite>Newer is not always better: Rethinking "
        "transferability metrics, their peculiarities, stability and performance</cite>, ECML "
        'PKDD 2022. <a href="https://arxiv.org/abs/2110.06893" '
        'rel="noreferrer">arXiv:2110.06893</a>'
    ),
)
