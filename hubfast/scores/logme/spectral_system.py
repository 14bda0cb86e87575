"""Evidence, means and leverages from the spectral form F = U diag(sigma) V', z = U'y."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from hubfast import ops
from hubfast.ops.linalg.bases import Basis, DenseBasis, RowBasis, Spectrum
from hubfast.ops.reference import EvidenceMaximum
from hubfast.scores.statistics import FeatureStatistics

# Of |y|^2: a smaller residual is round-off of the statistics. Without a floor the evidence of
# targets that the features fit exactly with n > rank is unbounded.
RESIDUAL_FLOOR = 1e-12
EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Decomposition:
    """Zeros stand for dropped directions; columns are classes or targets."""

    eigenvalues: Tensor  # lambda = sigma^2, (k,) float64
    z: Tensor  # U'y, (k, C)
    residual: Tensor  # Delta = |y|^2 - |z|^2, (C,), >= 0
    basis: Basis  # V
    rank: int

    def maximum(self, count: int) -> EvidenceMaximum:
        """The evidence's maximum over t for every column; `count` is n."""
        return ops.evidence(*self.evidence_inputs(count))

    def evidence_inputs(self, count: int) -> ops.EvidenceInputs:
        """The arguments of `hubfast.ops.evidence`."""
        return ops.EvidenceInputs(self.eigenvalues, self.z.square(), self.residual, count)

    def means(self, t: Tensor) -> Tensor:
        """(F'F + t_c I)^-1 F'y_c, `(C, D)`; 0 where t is infinite."""
        sigma = self.eigenvalues.sqrt()
        return self.basis.expand(sigma[:, None] * self.z * self._shrinkage(t)).T

    def leverage(self, features: Tensor, t: Tensor) -> Tensor:
        """x'(F'F + t_c I)^-1 x for every row x of `features` (r, D): `(r, C)`."""
        squares = self.basis.project(features).square()
        length = features.square().sum(1)
        outside = length - squares.sum(1)  # of the span of F
        outside = torch.where(outside > len(squares.T) * EPSILON * length, outside, 0)
        return squares @ self._shrinkage(t) + outside[:, None] / t

    def _shrinkage(self, t: Tensor) -> Tensor:
        """1 / (lambda + t), `(k, C)`; 0 where both are."""
        sums = self.eigenvalues[:, None] + t
        return torch.where(sums > 0, 1 / sums, 0)


def decompose(stats: FeatureStatistics, columns: Tensor) -> Decomposition:
    """Decomposes by the smaller side: FF' while `stats` keeps its rows (n <= D), else F'F.

    Args:
        stats: The sums.
        columns: Indices of the target columns to take, `(C,)` int64.

    Directions under the round-off of a squared spectrum (`signal`) are dropped: the Gram matrix
    does not tell them from zero.
    """
    gram, targets, rows = target_rows(stats, columns)
    return decomposition_of(stats, columns, ops.spectrum(gram, targets.T), rows)


def decomposition_of(
    stats: FeatureStatistics, columns: Tensor, found: Spectrum, rows: Tensor | None
) -> Decomposition:
    """`decompose` from the spectrum of what `target_rows` gave."""
    keep = signal(found.eigenvalues, stats)
    eigenvalues = torch.where(keep, found.eigenvalues, 0)
    sigma = eigenvalues.sqrt()
    basis: Basis
    if rows is not None:
        z, basis = found.projections, RowBasis(rows, found.basis, sigma)
    else:
        z, basis = found.projections / sigma[:, None], found.basis
    z = torch.where(keep[:, None], z, 0)

    rank = int(keep.sum())
    total = stats.target_square_sum[columns]
    residual = torch.maximum(total - z.square().sum(0), RESIDUAL_FLOOR * total)
    if rank >= stats.count:  # F has full row rank, so y is in its span exactly
        residual = torch.zeros_like(residual)
    return Decomposition(eigenvalues, z, residual, basis, rank)


def decompose_rows(features: Tensor, targets: Tensor) -> Decomposition:
    """By the singular values of `features` (n, D) themselves, for columns `targets` (n, C).

    Slower than `decompose` by a factor of ten, but lambda is not squared before it is rounded:
    directions count down to sigma_max max(n, D) eps, not to the root of that.
    """
    u, sigma, vh = ops.truncated_svd(features, tol=max(features.shape) * EPSILON)
    z = u.T @ targets
    residual = (targets - u @ z).square().sum(0)
    residual = torch.maximum(residual, RESIDUAL_FLOOR * targets.square().sum(0))
    if len(sigma) == len(features):
        residual = torch.zeros_like(residual)
    return Decomposition(sigma.square(), z, residual, DenseBasis(vh.T), len(sigma))


def signal(eigenvalues: Tensor, stats: FeatureStatistics) -> Tensor:
    """Which of the ascending `eigenvalues` exceed round-off: lambda_max max(n, D) eps."""
    largest = float(eigenvalues[-1].clamp(min=0))
    return eigenvalues > largest * max(stats.count, stats.width or 0) * EPSILON


def target_rows(stats: FeatureStatistics, columns: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """The smaller Gram matrix (m, m), the targets' side of it (C, m), and F if it is FF'.

    F'F with F'y, or, while `stats` keeps its rows, FF' with y.
    """
    if stats.rows is None:
        return stats.gram, stats.cross[columns], None
    rows, targets = stats.rows
    gram = rows.new_zeros(len(rows), len(rows))
    ops.add_gram(gram, rows.T)
    return gram, indicators(stats, targets)[:, columns].T, rows


def indicators(stats: FeatureStatistics, targets: Tensor) -> Tensor:
    """Target columns (n, C) float64: one-hot for classes, else the targets themselves."""
    if stats.classes is None:
        return targets
    return one_hot(torch.searchsorted(stats.classes, targets), len(stats.classes)).double()
