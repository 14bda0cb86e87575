"""What is kept of a symmetric eigendecomposition: eigenvalues, projections and the way back.

The eigenvectors V themselves are rarely needed, and forming them costs most, so a basis only
promises to apply V and V'.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Basis(Protocol):
    """An orthonormal basis V `(D, k)` of feature space, possibly never formed."""

    def expand(self, coefficients: Tensor) -> Tensor:
        """V c: `(k, m)` -> `(D, m)`."""
        ...

    def project(self, features: Tensor) -> Tensor:
        """F V: `(r, D)` -> `(r, k)`."""
        ...


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of F'F and the projections of the right-hand sides on its eigenvectors."""

    eigenvalues: Tensor  # (k,) float64, ascending
    projections: Tensor  # V' rhs, (k, C) float64
    basis: Basis


@dataclass(frozen=True)
class DenseBasis:
    """V held as a matrix."""

    vectors: Tensor  # (D, k)

    def expand(self, coefficients: Tensor) -> Tensor:
        return self.vectors @ coefficients

    def project(self, features: Tensor) -> Tensor:
        return features @ self.vectors


@dataclass(frozen=True)
class RowBasis:
    """V = F'U / sigma for n < D, where U (n, n) holds the eigenvectors of FF'."""

    rows: Tensor  # F, (n, D)
    inner: Basis  # U
    sigma: Tensor  # singular values, (n,); 0 where the direction is dropped

    def expand(self, coefficients: Tensor) -> Tensor:
        scaled = torch.where(self.sigma > 0, 1 / self.sigma, 0)[:, None] * coefficients
        return self.rows.T @ self.inner.expand(scaled)

    def project(self, features: Tensor) -> Tensor:
        projected = self.inner.project(features @ self.rows.T)
        return torch.where(self.sigma > 0, projected / self.sigma, 0)
