"""Sums over samples, and decompositions, in plain torch."""

import torch
from torch import Tensor


def add_gram(gram: Tensor, rows: Tensor) -> None:
    """Adds `rows' rows` of `rows` (n, D) to `gram` (D, D), in place."""
    gram.addmm_(rows.T, rows)


def add_moments(rows: Tensor, total: Tensor, cubic: Tensor) -> float:
    """Adds the sums over `rows` (n, D) of x to `total` (D,), of |x|^2 x to `cubic` (D,).

    Returns:
        The sum of |x|^4.
    """
    squares = rows.square().sum(1)
    total += rows.sum(0)
    cubic += squares @ rows
    return float(squares @ squares)


def spectrum(gram: Tensor, rhs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues (D,) ascending, projections V'rhs (D, C), eigenvectors V (D, D) of `gram`.

    Only the upper triangle of `gram` is read.
    """
    eigenvalues, vectors = torch.linalg.eigh(gram, UPLO="U")
    return eigenvalues, vectors.T @ rhs, vectors


def truncate(
    u: Tensor, s: Tensor, vh: Tensor, rank: int | None, tol: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Drops singular values past the first `rank`, and those <= `tol` of a matrix's largest.

    In a batch, those under `tol` become 0, and columns that are 0 in every matrix are dropped.
    """
    keep = s.shape[-1] if rank is None else min(rank, s.shape[-1])
    if tol is not None:
        s = torch.where(s > tol * s[..., :1], s, 0)
        nonzero = (s[..., :keep] > 0).flatten(0, -2).any(0) if s.ndim > 1 else s[:keep] > 0
        keep = int(nonzero.sum())
    return u[..., :keep], s[..., :keep], vh[..., :keep, :]


def truncated_svd(
    matrices: Tensor, rank: int | None, tol: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """U (..., n, k), S (..., k), Vh (..., k, D) of `matrices` (..., n, D)."""
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    return truncate(u, s, vh, rank, tol)
