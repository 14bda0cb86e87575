"""Evidence, means and leverages from the spectral form F = U diag(sigma) V', z = U'y."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from hubfast import ops
from hubfast.ops.linalg.bases import Basis, DenseBasis, RowBasis, Spectrum
from hubfast.ops.reference import EvidenceMaximum
from hubfast.scores.statistics import FeatureStatistics

# A residual below this share of |y|^2 is round-off of the statistics. Without such a floor the
# evidence of targets that the features fit exactly with n > rank is unbounded.
RESIDUAL_FLOOR = 1e-12
EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Decomposition:
    """The spectral form of features and targets, in which dropped directions hold zeros."""

    eigenvalues: Tensor  # lambda = sigma^2, (k,) float64
    z: Tensor  # U'y, (k, C)
    residual: Tensor  # |y|^2 - |z|^2 of each target column, (C,), not negative
    basis: Basis  # V, the eigenvectors of F'F
    rank: int  # numerical rank of F

    def maximum(self, count: int) -> EvidenceMaximum:
        """The evidence's maximum over t for every column; `count` is n."""
        return ops.evidence(*self.evidence_inputs(count))

    def evidence_inputs(self, count: int) -> ops.EvidenceInputs:
        """The arguments of `hubfast.ops.evidence`."""
        return ops.EvidenceInputs(self.eigenvalues, self.z.square(), self.residual, count)

    def means(self, t: Tensor) -> Tensor:
        """(F'F + t_c I)^-1 F'y_c for every column c, `(C, D)`; 0 where t_c is infinite."""
        sigma = self.eigenvalues.sqrt()
        return self.basis.expand(sigma[:, None] * self.z * self._shrinkage(t)).T

    def leverage(self, features: Tensor, t: Tensor) -> Tensor:
        """x'(F'F + t_c I)^-1 x for every row x of `features` (r, D): `(r, C)`."""
        squares = self.basis.project(features).square()
        length = features.square().sum(1)
        outside = length - squares.sum(1)  # squared length of what lies outside the span of F
        outside = torch.where(outside > len(squares.T) * EPSILON * length, outside, 0)
        return squares @ self._shrinkage(t) + outside[:, None] / t

    def coordinates(self, features: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Of fitted rows along the eigenvectors of F'F, `(r, k)`, and 1 / (lambda + t), `(k, C)`.

        x'(F'F + t_c I)^-1 z of two of these rows is the product of the three.
        """
        return self.basis.project(features), self._shrinkage(t)

    def _shrinkage(self, t: Tensor) -> Tensor:
        """1 / (lambda + t), `(k, C)`; 0 where both lambda and t are 0."""
        sums = self.eigenvalues[:, None] + t
        return torch.where(sums > 0, 1 / sums, 0)


def decompose(stats: FeatureStatistics, columns: Tensor) -> Decomposition:
    """Decomposes the smaller Gram matrix: FF' while `stats` keeps its rows (n <= D), else F'F.

    Directions under the round-off of a squared spectrum (`signal`) are dropped, since the Gram
    matrix does not tell them from zero.

    Args:
        stats: The sums over all samples.
        columns: Indices of the target columns to take, `(C,)` int64.
    """
    gram, targets, rows = target_rows(stats, columns)
    return decomposition_of(stats, columns, ops.spectrum(gram, targets.T), rows)


def decomposition_of(
    stats: FeatureStatistics, columns: Tensor, found: Spectrum, rows: Tensor | None
) -> Decomposition:
    """Completes `decompose` from the spectrum `found` of the Gram matrix that `target_rows` gave.

    Args:
        stats: The sums over all samples.
        columns: Indices of the target columns, `(C,)` int64.
        found: Spectrum of the Gram matrix, with the projections of the targets' side.
        rows: F `(n, D)` if the Gram matrix is FF', None if it is F'F.
    """
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
    """Decomposes by the singular values of the features themselves.

    This is slower than `decompose` by a factor of ten, but does not square sigma before rounding:
    directions count down to sigma_max max(n, D) eps, and not only to sigma_max sqrt(max(n, D) eps).

    Args:
        features: F, `(n, D)` float64.
        targets: Target columns, `(n, C)` float64.
    """
    u, sigma, vh = ops.truncated_svd(features, tol=max(features.shape) * EPSILON)
    z = u.T @ targets
    residual = (targets - u @ z).square().sum(0)
    residual = torch.maximum(residual, RESIDUAL_FLOOR * targets.square().sum(0))
    if len(sigma) == len(features):
        residual = torch.zeros_like(residual)
    return Decomposition(sigma.square(), z, residual, DenseBasis(vh.T), len(sigma))


def signal(eigenvalues: Tensor, stats: FeatureStatistics) -> Tensor:
    """Which of the ascending `eigenvalues` exceed their round-off, lambda_max max(n, D) eps."""
    largest = float(eigenvalues[-1].clamp(min=0))
    return eigenvalues > largest * max(stats.count, stats.width or 0) * EPSILON


def target_rows(stats: FeatureStatistics, columns: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """The smaller Gram matrix with the targets' side of the equations.

    Returns:
        While `stats` keeps its rows, FF' `(n, n)`, y `(C, n)` and F `(n, D)`; otherwise F'F
        `(D, D)`, F'y `(C, D)` and None.
    """
    if stats.rows is None:
        return stats.gram, stats.cross[columns], None
    rows, targets = stats.rows
    gram = rows.new_zeros(len(rows), len(rows))
    ops.add_gram(gram, rows.T)
    return gram, indicators(stats, targets)[:, columns].T, rows


def indicators(stats: FeatureStatistics, targets: Tensor) -> Tensor:
    """Target columns `(n, C)` float64: one-hot for classes, the targets themselves otherwise."""
    if stats.classes is None:
        return targets
    return one_hot(torch.searchsorted(stats.classes, targets), len(stats.classes)).double()
