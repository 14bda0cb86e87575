"""Eigenvalues and singular values."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hubfast.ops.backends import choose, expect, on_device
from hubfast.ops.linalg import cusolver, lapack, reference
from hubfast.ops.linalg.bases import DenseBasis, Spectrum
from hubfast.ops.linalg.lapack import TridiagonalBasis
from hubfast.ops.registration import register
from hubfast.utils.threads import cores, one_torch_thread, parallel_map


def spectrum(gram: Tensor, rhs: Tensor, *, backend: str | None = None) -> Spectrum:
    """Eigenvalues of a symmetric matrix and the projections of `rhs` on its eigenvectors.

    Args:
        gram: `(D, D)` float64; its upper triangle is read.
        rhs: `(D, C)` float64.
        backend: `"scipy"` (CPU: tridiagonal, no eigenvectors formed), `"torch"`, or None.

    Returns:
        Eigenvalues ascending, `V' rhs`, and a basis that applies V.
    """
    expect(gram, "gram", (gram.shape[-1], gram.shape[-1]))
    expect(rhs, "rhs", (len(gram), None))
    if choose(backend, *on_device(gram, cpu=("scipy",))) == "scipy":
        eigenvalues, projections, *fields = _tridiagonal_spectrum_op(gram, rhs)
        return Spectrum(eigenvalues, projections, TridiagonalBasis(*fields))
    eigenvalues, projections, rows = _spectrum_op(gram, rhs)
    return Spectrum(eigenvalues, projections, DenseBasis(rows.T))


def _fake_spectrum(gram: Tensor, rhs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return gram.new_empty(len(gram)), rhs.new_empty(rhs.shape), gram.new_empty(gram.shape)


@register("spectrum", fake=_fake_spectrum)
def _spectrum_op(gram: Tensor, rhs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues, projections, and the eigenvectors as rows, by torch on any device."""
    with one_torch_thread():
        eigenvalues, projections, vectors = reference.spectrum(gram, rhs)
    return eigenvalues, projections, vectors.T.contiguous()


def _fake_tridiagonal_spectrum(
    gram: Tensor, rhs: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    width = len(gram)
    reflectors, tau = gram.new_empty(width - 1, width - 1), gram.new_empty(width - 1)
    return (
        gram.new_empty(width),
        rhs.new_empty(rhs.shape),
        gram.new_empty(gram.shape),
        reflectors,
        tau,
    )


@register("tridiagonal_spectrum", fake=_fake_tridiagonal_spectrum)
def _tridiagonal_spectrum_op(
    gram: Tensor, rhs: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Eigenvalues, projections, and the three fields of a TridiagonalBasis, on the CPU."""
    return lapack.spectrum(gram, rhs)


def spectrum_batch(
    grams: Sequence[Tensor],
    rhs: Sequence[Tensor],
    *,
    names: Sequence[str] | None = None,
    backend: str | None = None,
) -> list[Spectrum]:
    """`spectrum` of many matrices of any sizes; on the CPU one per core, each on one thread.

    Args:
        grams: Symmetric matrices, `(D_i, D_i)` float64.
        rhs: One `(D_i, C_i)` float64 for each of `grams`.
        names: What errors call the matrices; None for "matrix 0" and so on.
        backend: As in `spectrum`, or `"cusolver"` (CUDA): small matrices of one size as a batch,
            large ones several at a time on streams, and one wait for all.

    Raises:
        TypeError, ValueError, RuntimeError: As for `spectrum`; the message names the matrix.
    """
    if len(grams) != len(rhs):
        raise ValueError(f"rhs must be as many as grams, {len(grams)}, got {len(rhs)}")
    if names is None:
        names = [f"matrix {index}" for index in range(len(grams))]
    if backend == "cusolver":
        return _side_by_side(grams, rhs, names)

    def one(index: int) -> Spectrum:
        try:
            return spectrum(grams[index], rhs[index], backend=backend)
        except (TypeError, ValueError, RuntimeError) as error:
            raise type(error)(f"{names[index]}: {error}") from error

    if any(gram.is_cuda for gram in grams):
        return [one(index) for index in range(len(grams))]
    return parallel_map(one, range(len(grams)), cost=lambda index: len(grams[index]) ** 3)


def _side_by_side(
    grams: Sequence[Tensor], rhs: Sequence[Tensor], names: Sequence[str]
) -> list[Spectrum]:
    for name, gram, columns in zip(names, grams, rhs, strict=True):
        expect(gram, f"{name}: gram", (gram.shape[-1], gram.shape[-1]))
        expect(columns, f"{name}: rhs", (len(gram), None))
        choose("cusolver", *on_device(gram, cuda=("torch", "cusolver")))
    eigenvalues, vectors, info = cusolver.eigh(grams)
    failed = info.nonzero().flatten().tolist()  # the one wait for all of them
    if failed:
        raise RuntimeError(f"eigenvalues were not found of: {', '.join(names[i] for i in failed)}")
    return [
        Spectrum(values, rows @ columns, DenseBasis(rows.T))
        for values, rows, columns in zip(eigenvalues, vectors, rhs, strict=True)
    ]


def truncated_svd(
    matrices: Tensor, rank: int | None = None, tol: float | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Singular value decomposition, thin and truncated: a drop-in for `torch.linalg.svd`.

    On the CPU a batch runs one matrix per core, each on one thread; torch takes them in turn, on
    threads that get into each other's way.

    Args:
        matrices: `(..., n, D)` float32 or float64, any device; differentiable.
        rank: How many singular values to keep at most, the largest first; None for all.
        tol: Drop singular values <= tol times the largest of their matrix. In a batch they become
            0, and columns that are 0 in every matrix are dropped.

    Returns:
        U `(..., n, k)`, S `(..., k)` descending, Vh `(..., k, D)`.

    Raises:
        TypeError: Matrices that are neither float32 nor float64.
        ValueError: Fewer than two dimensions, `rank` or `tol` out of range, or NaN or inf.
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
    u, s, vh = _truncated_svd_op(matrices)
    return reference.truncate(u, s, vh, rank, tol)


def _fake_svd(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    *batch, n, width = matrices.shape
    k = min(n, width)
    shapes = ((*batch, n, k), (*batch, k), (*batch, k, width))
    u, s, vh = (matrices.new_empty(shape) for shape in shapes)
    return u, s, vh


@register("svd", fake=_fake_svd)
def _truncated_svd_op(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin U, S, Vh of `(..., n, D)` on the CPU."""
    flat = matrices.reshape(-1, *matrices.shape[-2:])
    if len(flat) >= cores():
        each = parallel_map(lambda x: torch.linalg.svd(x, full_matrices=False), list(flat))
    else:
        with one_torch_thread():
            each = [lapack.svd(x) for x in flat]
    u, s, vh = (torch.stack(parts) for parts in zip(*each, strict=True))
    batch = matrices.shape[:-2]
    return u.view(*batch, *u.shape[1:]), s.view(*batch, -1), vh.view(*batch, *vh.shape[1:])


def resolvent_backend(like: Tensor, *, backend: str | None = None) -> str:
    """Who computes resolvents where `like` lives: `"native"` (CPU, by `BandForm`) or `"torch"`."""
    return choose(backend, *on_device(like, cpu=("native",)))
