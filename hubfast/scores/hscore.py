"""H-score and its regularised form.

Bao et al.: "An Information-Theoretic Approach to Transferability in Task Transfer Learning",
ICIP 2019; Ibrahim, Ponomareva, Mazumder: "Newer is not always better", ECML PKDD 2022.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hubfast import functional
from hubfast.scores.inputs import as_features, as_targets
from hubfast.scores.statistics import FeatureStatistics


def h_score(features: Any, targets: Any) -> float:
    """H-score: tr(cov(x)^+ cov(E[x | y])), how much of the features' variance classes explain.

    Between 0 and min(C - 1, D), higher is better. With n <= D it is C - 1 for every model in
    general position, so it says nothing; a warning tells.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return HScore.fit(features, targets).score


def regularized_h_score(features: Any, targets: Any) -> float:
    """H-score with Ledoit-Wolf shrinkage of the covariance: stable where n is near or below D.

    Between 0 and C - 1, higher is better. Arguments as in `h_score`.
    """
    return HScore.fit(features, targets, regularized=True).score


@dataclass(frozen=True, eq=False)
class HScore:
    """A fitted H-score."""

    score: float
    shrinkage: float  # 0 for the plain score
    classes: Tensor  # (C,)
    _mean: Tensor = field(repr=False)  # (D,)
    _weights: Tensor = field(repr=False)  # cov^+ (class mean - mean), (D, C)
    _class_means: Tensor = field(repr=False)  # centred, (D, C)
    _class_shares: Tensor = field(repr=False)  # n_c / (n - 1), (C,)

    @classmethod
    def fit(cls, features: Any, targets: Any, *, regularized: bool = False) -> "HScore":
        """Fits features and targets; arguments as in `h_score`."""
        stats = FeatureStatistics("classification").update(features, targets)
        return cls.from_statistics(stats, regularized=regularized)

    @classmethod
    def from_statistics(cls, stats: FeatureStatistics, *, regularized: bool = False) -> "HScore":
        """Fits what `stats` has summed up.

        Raises:
            ValueError: Not classification, or fewer than two samples.
        """
        if stats.classes is None:
            raise ValueError(f"H-score needs classification targets, got {stats.task}")
        if stats.count < 2:
            raise ValueError(f"H-score needs at least 2 samples, got {stats.count}")
        width = len(stats.feature_sum)
        if not regularized and stats.count <= width:
            warnings.warn(
                f"H-score says nothing for n = {stats.count} samples of width D = {width} >= n: "
                "it is C - 1 for every model; take regularized_h_score",
                stacklevel=3,
            )
        present = stats.target_sum > 0
        counts = stats.target_sum[present]
        mean = stats.feature_sum / stats.count
        class_means = (stats.cross[present] / counts[:, None] - mean).T  # (D, C)
        scatter = stats.gram.triu() - stats.count * torch.outer(mean, mean).triu()
        found = functional.spectrum(scatter, class_means)
        # Centring subtracts n mean mean', so it leaves round-off of that size, too.
        scale = max(float(found.eigenvalues[-1]), stats.count * float(mean @ mean))
        noise = scale * max(stats.count, width) * torch.finfo(scatter.dtype).eps
        eigenvalues = torch.where(found.eigenvalues > noise, found.eigenvalues, 0)
        if regularized:
            covariance = eigenvalues / stats.count
            shrinkage = _ledoit_wolf(stats, mean, covariance)
            covariance = (1 - shrinkage) * covariance + shrinkage * covariance.mean()
        else:
            covariance, shrinkage = eigenvalues / (stats.count - 1), 0.0
        inverse = torch.where(covariance > 0, 1 / covariance, 0)
        weights = found.projections * inverse[:, None]  # V' cov^+ M, (D, C)
        shares = counts / (stats.count - 1)
        return cls(
            score=float((1 - shrinkage) * ((found.projections * weights).sum(0) @ shares)),
            shrinkage=shrinkage,
            classes=stats.classes[present],
            _mean=mean,
            _weights=found.basis.expand(weights),
            _class_means=class_means,
            _class_shares=shares,
        )

    def influence(self, features: Any, targets: Any) -> Tensor:
        """First-order effect of each sample's weight on the score, centred at 0 + score, `(r,)`.

        With x centred, W = cov^+ M and M the class means:
        2 x'w_y - m_y'w_y - sum_c p_c (x'w_c)^2. The shrinkage is taken as given.
        """
        x = as_features(features, width=len(self._mean)).double() - self._mean
        y, _ = as_targets(targets, len(x), "classification")
        index = torch.searchsorted(self.classes, y)
        projected = x @ self._weights  # (r, C)
        own = projected.gather(1, index[:, None])[:, 0]
        explained = (self._class_means * self._weights).sum(0)  # (C,)
        spread = projected.square() @ self._class_shares
        return (1 - self.shrinkage) * (2 * own - explained[index] - spread) + self.score


def _ledoit_wolf(stats: FeatureStatistics, mean: Tensor, covariance: Tensor) -> float:
    """The shrinkage of Ledoit and Wolf (2004) from sums and the covariance's eigenvalues (D,).

    Needs sum |x - mean|^4, which expands into the kept sums.
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
    """v'G v of a symmetric matrix whose upper triangle is given."""
    full = 2 * float(vector @ (upper.triu(1) @ vector))
    return full + float((upper.diagonal() * vector.square()).sum())
