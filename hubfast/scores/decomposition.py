"""The spectral view of FeatureStatistics that evidence needs: F = U diag(sigma) V', z = U'y."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from hubfast import functional
from hubfast.scores.statistics import FeatureStatistics
from hubfast.spectrum import Basis, RowBasis

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


def decompose(stats: FeatureStatistics, columns: Tensor) -> Decomposition:
    """Decomposes by the smaller side: FF' while `stats` keeps its rows (n <= D), else F'F.

    Args:
        stats: The sums.
        columns: Indices of the target columns to take, `(C,)` int64.

    Directions under the round-off of a squared spectrum, lambda <= lambda_max max(n, D) eps, are
    dropped: the Gram matrix does not tell them from zero.
    """
    kept = stats.rows
    if kept is not None:
        rows, row_targets = kept
        gram = rows.new_zeros(len(rows), len(rows))
        functional.add_gram(gram, rows.T)
        found = functional.spectrum(gram, indicators(stats, row_targets)[:, columns])
    else:
        found = functional.spectrum(stats.gram, stats.cross[columns].T)

    eigenvalues = found.eigenvalues
    noise = float(eigenvalues[-1].clamp(min=0)) * max(stats.count, stats.width or 0) * EPSILON
    keep = eigenvalues > noise
    eigenvalues = torch.where(keep, eigenvalues, 0)
    sigma = eigenvalues.sqrt()
    basis: Basis
    if kept is not None:
        z, basis = found.projections, RowBasis(kept[0], found.basis, sigma)
    else:
        z, basis = found.projections / sigma[:, None], found.basis
    z = torch.where(keep[:, None], z, 0)

    rank = int(keep.sum())
    total = stats.target_square_sum[columns]
    residual = torch.maximum(total - z.square().sum(0), RESIDUAL_FLOOR * total)
    if rank >= stats.count:  # F has full row rank, so y is in its span exactly
        residual = torch.zeros_like(residual)
    return Decomposition(eigenvalues, z, residual, basis, rank)


def indicators(stats: FeatureStatistics, targets: Tensor) -> Tensor:
    """Target columns (n, C) float64: one-hot for classes, else the targets themselves."""
    if stats.classes is None:
        return targets
    index = torch.searchsorted(stats.classes, targets)
    return one_hot(index, len(stats.classes)).double()
