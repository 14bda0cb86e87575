"""Public ops: check shapes, choose a backend, call it. All in float64."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from hubfast import lapack, native, reference
from hubfast.backend import choose
from hubfast.reference import Climb, EvidenceMaximum
from hubfast.spectrum import DenseBasis, Spectrum
from hubfast.threads import one_torch_thread


def add_gram(gram: Tensor, rows: Tensor, *, backend: str | None = None) -> None:
    """Adds `rows' rows` to `gram` in place; only its upper triangle is then defined.

    Args:
        gram: `(D, D)` float64, contiguous.
        rows: `(n, D)` float64.
        backend: `"native"` or `"scipy"` (CPU, half the flops), `"torch"`, or None for the best.
    """
    _expect(gram, "gram", (rows.shape[-1], rows.shape[-1]))
    _expect(rows, "rows", (None, gram.shape[1]))
    match choose(backend, *_on(gram, cpu=("native", "scipy"))):
        case "native":
            native.add_gram(gram, rows)
        case "scipy":
            lapack.add_gram(gram, rows.contiguous())
        case _:
            reference.add_gram(gram, rows)


def add_moments(
    rows: Tensor, total: Tensor, cubic: Tensor, *, backend: str | None = None
) -> float:
    """Adds sums over the samples x of `rows` in place; returns the sum of |x|^4.

    Args:
        rows: `(n, D)` float64.
        total: Takes the sum of x, `(D,)` float64, contiguous.
        cubic: Takes the sum of |x|^2 x, likewise.
        backend: `"native"` (CPU, one pass), `"torch"`, or None for the best one.
    """
    _expect(rows, "rows", (None, None))
    _expect(total, "total", (rows.shape[1],))
    _expect(cubic, "cubic", (rows.shape[1],))
    match choose(backend, *_on(rows, cpu=("native",))):
        case "native":
            return native.add_moments(rows, total, cubic)
        case _:
            return reference.add_moments(rows, total, cubic)


def class_sums(rows: Tensor, index: Tensor, classes: int) -> Tensor:
    """Sum of the rows of each class, `(classes, D)`; the same in every run.

    Args:
        rows: `(n, D)`.
        index: Class of each row, `(n,)` int64 in 0..classes - 1.
        classes: How many there are.
    """
    if rows.is_cuda:  # index_add_ adds in any order there
        return one_hot(index, classes).to(rows.dtype).T @ rows
    return rows.new_zeros(classes, rows.shape[1]).index_add_(0, index, rows)


def spectrum(gram: Tensor, rhs: Tensor, *, backend: str | None = None) -> Spectrum:
    """Eigenvalues of a symmetric matrix and the projections of `rhs` on its eigenvectors.

    Args:
        gram: `(D, D)` float64, its upper triangle is read.
        rhs: `(D, C)` float64.
        backend: `"scipy"` (CPU: tridiagonal, no eigenvectors formed), `"torch"`, or None.

    Returns:
        Eigenvalues ascending, `V' rhs`, and a basis that applies V.
    """
    _expect(gram, "gram", (gram.shape[-1], gram.shape[-1]))
    _expect(rhs, "rhs", (len(gram), None))
    match choose(backend, *_on(gram, cpu=("scipy",))):
        case "scipy":
            return Spectrum(*lapack.spectrum(gram, rhs))
        case _:
            with one_torch_thread():
                eigenvalues, projections, vectors = reference.spectrum(gram, rhs)
            return Spectrum(eigenvalues, projections, DenseBasis(vectors))


def evidence(
    eigenvalues: Tensor,
    energy: Tensor,
    residual: Tensor,
    count: int,
    *,
    backend: str | None = None,
) -> EvidenceMaximum:
    """Maximum evidence of a Bayesian linear model, every target column at once.

    You et al., ICML 2021, Eq. 2, in profile form over t = alpha / beta: see `reference.evidence`.

    Args:
        eigenvalues: Of F'F, `(k,)` float64, >= 0; zeros stand for dropped directions.
        energy: Squared projections (U'y)^2, `(k, C)` float64; 0 where the eigenvalue is.
        residual: |y|^2 - sum of energy, `(C,)` float64, >= 0.
        count: Samples n.
        backend: `"native"` (CPU), `"triton"` (CUDA), `"torch"`, or None.

    Returns:
        Value in nats per sample, t and Q = n / beta, each `(C,)`.
    """
    _expect(eigenvalues, "eigenvalues", (None,))
    _expect(energy, "energy", (len(eigenvalues), None))
    _expect(residual, "residual", (energy.shape[1],))
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    find: Climb | None = None
    match choose(backend, *_on(energy, cpu=("native",), cuda=("triton",))):
        case "native":
            find = native.climb
        case "triton":
            from hubfast.kernels.evidence import climb  # triton is slow to import

            find = climb
    return reference.evidence(eigenvalues, energy, residual, count, find)


def resolvent_backend(like: Tensor, *, backend: str | None = None) -> str:
    """`"native"` (CPU: `banded.BandForm`) or `"torch"`, for matrices where `like` lives."""
    return choose(backend, *_on(like, cpu=("native",)))


def _on(x: Tensor, **backends: tuple[str, ...]) -> tuple[str, ...]:
    """The backends for the device of `x`."""
    return backends.get(x.device.type, ())


def _expect(x: Tensor, name: str, shape: tuple[int | None, ...]) -> None:
    """Checks dtype and shape of an argument; None stands for any size."""
    if x.dtype != torch.float64:
        raise TypeError(f"{name} must be float64, got {x.dtype}")
    fits = x.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, x.shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(x.shape)}")
