"""Functions of a symmetric matrix through its band form, without eigenvectors or eigenvalues."""

import math
from dataclasses import dataclass

import scipy.linalg
import torch
from torch import Tensor

from hubfast.ops.linalg import native


@dataclass(frozen=True)
class BandForm:
    """G = Q B Q', B of half-bandwidth w: the resolvent (G + t I)^-1 at O(D w) per column.

    B is kept divided by a power of two near |G|, so that no product of pivots overflows.
    Vectors are rows here: `(m, D)` holds m of them.
    """

    norm: float  # |B|_inf, which bounds the largest eigenvalue and is at most sqrt(2 w + 1) of it
    _unit: float  # the power of two
    _band: Tensor  # B / unit, (D, w + 1): row i holds B[i, i - w .. i]
    _reflectors: Tensor
    _factors: Tensor

    @classmethod
    def reduce(cls, gram: Tensor) -> "BandForm":
        """Band form of `gram` (D, D) float64 on the CPU, upper triangle read.

        Raises:
            ValueError: `gram` holds NaN or infinity.
        """
        band, reflectors, factors = native.reduce_to_band(gram)
        norm = _infinity_norm(band)
        if not math.isfinite(norm):
            raise ValueError("gram must be finite, got NaN or infinity")
        unit = 2.0 ** math.frexp(norm)[1] if norm else 1.0
        return cls(norm, unit, band / unit, reflectors, factors)

    def __len__(self) -> int:
        return len(self._band)

    def rotate(self, rows: Tensor) -> Tensor:
        """Q'y of every row y, the coordinates in which `quadratic_forms` and `solve` work."""
        return native.rotate(self._reflectors, self._factors, rows, back=False)

    def rotate_back(self, rows: Tensor) -> Tensor:
        """Q y of every row y."""
        return native.rotate(self._reflectors, self._factors, rows, back=True)

    def quadratic_forms(self, rotated: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """log det(I + G / t) `(T,)` and y'(G + t I)^-1 y `(T, m)` for each t > 0 of `t` (T,)."""
        shifts = t / self._unit
        log_det, forms = native.quadratic_forms(self._band, rotated, shifts)
        return log_det - len(self) * shifts.log(), forms / self._unit

    def solve(self, rotated: Tensor, t: Tensor) -> Tensor:
        """(G + t_c I)^-1 y_c, rotated, for every row y_c and its own t_c > 0 of `t` (m,)."""
        return native.solve(self._band, rotated, t / self._unit) / self._unit

    def missing_below(self, t: float) -> float:
        """Sum of t / (lambda + t) over the eigenvalues: about how many are below `t`."""
        step = 0.1
        shifts = t * self._band.new_tensor([-step, step]).exp()
        log_det, _ = self.quadratic_forms(self._band.new_empty(0, len(self)), shifts)
        return len(self) - float(log_det[0] - log_det[1]) / (2 * step)

    def eigenvalues(self) -> Tensor:
        """The eigenvalues of G, ascending `(D,)`, computed at each call in O(D^2 w)."""
        return torch.from_numpy(scipy.linalg.eigvals_banded(self._band.T.numpy()) * self._unit)


def _infinity_norm(band: Tensor) -> float:
    """Largest absolute row sum of the symmetric matrix whose lower band is given."""
    lower = band.abs()
    sums = lower.sum(1)
    width = band.shape[1] - 1
    for below in range(1, min(width, len(band) - 1) + 1):
        sums[:-below] += lower[below:, width - below]
    return float(sums.max())
