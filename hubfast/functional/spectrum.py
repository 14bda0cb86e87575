"""Eigenvalues and singular values."""

import torch
from torch import Tensor

from hubfast import lapack, reference
from hubfast.backend import choose
from hubfast.functional.arguments import expect, on_device
from hubfast.spectrum import DenseBasis, Spectrum
from hubfast.threads import cores, one_torch_thread, parallel_map


def spectrum(gram: Tensor, rhs: Tensor, *, backend: str | None = None) -> Spectrum:
    """Eigenvalues of a symmetric matrix and the projections of `rhs` on its eigenvectors.

    Args:
        gram: `(D, D)` float64, its upper triangle is read.
        rhs: `(D, C)` float64.
        backend: `"scipy"` (CPU: tridiagonal, no eigenvectors formed), `"torch"`, or None.

    Returns:
        Eigenvalues ascending, `V' rhs`, and a basis that applies V.
    """
    expect(gram, "gram", (gram.shape[-1], gram.shape[-1]))
    expect(rhs, "rhs", (len(gram), None))
    match choose(backend, *on_device(gram, cpu=("scipy",))):
        case "scipy":
            return Spectrum(*lapack.spectrum(gram, rhs))
        case _:
            with one_torch_thread():
                eigenvalues, projections, vectors = reference.spectrum(gram, rhs)
            return Spectrum(eigenvalues, projections, DenseBasis(vectors))


def truncated_svd(
    matrices: Tensor, rank: int | None = None, tol: float | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Singular value decomposition, thin and truncated: a drop-in for `torch.linalg.svd`.

    On the CPU a batch runs one matrix a core, each on one thread; torch takes them in turn, on
    threads that get into each other's way.

    Args:
        matrices: `(..., n, D)` float32 or float64, any device; differentiable.
        rank: Keep at most so many singular values, the largest.
        tol: Drop singular values <= tol times the largest of their matrix. In a batch they become
            0, and columns go that are 0 in every matrix.

    Returns:
        U `(..., n, k)`, S `(..., k)` descending, Vh `(..., k, D)`.

    Raises:
        TypeError, ValueError: Bad input, NaN and inf included.
    """
    if matrices.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"matrices must be float32 or float64, got {matrices.dtype}")
    if matrices.ndim < 2:
        raise ValueError(f"matrices must be (..., n, D), got {tuple(matrices.shape)}")
    if rank is not None and rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")
    if tol is not None and not 0 <= tol < 1:
        raise ValueError(f"tol must be in [0, 1), got {tol}")
    if not bool(torch.isfinite(matrices).all()):
        raise ValueError("matrices must be finite, got NaN or inf")
    differentiable = matrices.requires_grad and torch.is_grad_enabled()
    if differentiable or matrices.device.type != "cpu" or not matrices.numel():
        return reference.truncated_svd(matrices, rank, tol)
    flat = matrices.flatten(0, -3) if matrices.ndim > 2 else matrices[None]
    if len(flat) >= cores():
        found = parallel_map(lambda x: torch.linalg.svd(x, full_matrices=False), list(flat))
    else:
        with one_torch_thread():
            found = [lapack.svd(x) for x in flat]
    u, s, vh = (
        torch.stack(parts).unflatten(0, matrices.shape[:-2]) if matrices.ndim > 2 else parts[0]
        for parts in zip(*found, strict=True)
    )
    return reference.truncate(u, s, vh, rank, tol)


def resolvent_backend(like: Tensor, *, backend: str | None = None) -> str:
    """`"native"` (CPU: `banded.BandForm`) or `"torch"`, for matrices where `like` lives."""
    return choose(backend, *on_device(like, cpu=("native",)))
