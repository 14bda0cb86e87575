"""CPU Gram matrices and spectra by SciPy's BLAS and LAPACK, with only the work that is asked for.

A full eigendecomposition spends much of its time multiplying the tridiagonal eigenvectors back
(2 D^3 flops). Here G = Q T Q' and T = Z diag(lambda) Z' are kept apart, and Q and Z are applied
to the few columns that are wanted.

Transposed, a C-ordered matrix is Fortran-ordered, so BLAS works in place on tensors. The upper
triangle of a tensor is then LAPACK's lower one.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from scipy.linalg import blas, lapack
from torch import Tensor


def add_gram(gram: Tensor, rows: Tensor) -> None:
    """Adds `rows' rows` to the upper triangle of `gram` (D, D), in place.

    Both are contiguous float64 on the CPU; `rows` is (n, D). The lower triangle is left as it is.
    """
    blas.dsyrk(1.0, rows.numpy().T, beta=1.0, c=gram.numpy().T, lower=1, overwrite_c=1)


@dataclass(frozen=True)
class TridiagonalBasis:
    """V = Q Z: Q as the Householder reflectors of dsytrd, Z the eigenvectors of T."""

    vectors: Tensor  # Z', (D, D), one eigenvector per row
    reflectors: Tensor  # (D - 1, D - 1), one per row
    tau: Tensor  # (D - 1,)

    def expand(self, coefficients: Tensor) -> Tensor:
        return self._apply_q(self.vectors.T @ coefficients, "N")

    def project(self, features: Tensor) -> Tensor:
        return self._apply_q(features.T, "T").T @ self.vectors.T

    def _apply_q(self, columns: Tensor, transpose: str) -> Tensor:
        """Q columns or Q' columns, (D, m) -> (D, m). Q leaves the first row alone."""
        out = np.array(columns.numpy(), order="F")
        reflectors, tau = self.reflectors.numpy().T, self.tau.numpy()
        if tau.size and out.shape[1]:
            tail = np.asfortranarray(out[1:])
            lwork = int(lapack.dormqr("L", transpose, reflectors, tau, tail, -1)[1][0])
            tail, _, info = lapack.dormqr(
                "L", transpose, reflectors, tau, tail, lwork, overwrite_c=1
            )
            _check(info, "dormqr")
            out[1:] = tail
        return torch.from_numpy(out)


def spectrum(gram: Tensor, rhs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Eigenvalues (D,) ascending, V'rhs (D, C) and V of `gram` (D, D), upper triangle read.

    V is returned as the three fields of a TridiagonalBasis.

    Raises:
        RuntimeError: LAPACK did not converge.
    """
    matrix = gram.numpy().T
    lwork = int(lapack.dsytrd_lwork(len(matrix), lower=1)[0])  # f2py's default is 2x slower
    reduced, diagonal, off_diagonal, tau, info = lapack.dsytrd(matrix, lower=1, lwork=lwork)
    _check(info, "dsytrd")
    if len(matrix) == 1:  # dstevd insists on an off-diagonal
        eigenvalues, vectors = diagonal, np.ones((1, 1))
    else:
        eigenvalues, vectors, info = lapack.dstevd(diagonal, off_diagonal)
        _check(info, "dstevd")
    basis = TridiagonalBasis(
        torch.from_numpy(np.ascontiguousarray(vectors.T)),
        torch.from_numpy(np.ascontiguousarray(reduced[1:, :-1].T)),
        torch.from_numpy(tau),
    )
    projections = basis.project(rhs.T).T.contiguous()
    return torch.from_numpy(eigenvalues), projections, basis.vectors, basis.reflectors, basis.tau


def svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin U, S, Vh of `matrix` (n, D) by divide and conquer, on as many threads as BLAS has.

    Raises:
        RuntimeError: LAPACK did not converge.
    """
    u, s, vh = scipy.linalg.svd(matrix.numpy(), full_matrices=False, check_finite=False)
    return torch.from_numpy(u), torch.from_numpy(s), torch.from_numpy(vh)


def _check(info: int, routine: str) -> None:
    if info:
        raise RuntimeError(f"LAPACK's {routine} failed with info={info}")
