"""The evidence of every target at once."""

import torch
from torch import Tensor
from torch.library import custom_op

from hubfast import native, native_cuda, reference
from hubfast.backend import choose
from hubfast.functional.arguments import expect, on_device
from hubfast.reference import Climb, EvidenceMaximum


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
        backend: `"native"` (CPU), `"triton"` or `"cuda"` (CUDA: the climbs alone, or the whole
            search, in one launch), `"torch"`, or None.

    Returns:
        Value in nats per sample, t and Q = n / beta, each `(C,)`.
    """
    expect(eigenvalues, "eigenvalues", (None,))
    expect(energy, "energy", (len(eigenvalues), None))
    expect(residual, "residual", (energy.shape[1],))
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    return EvidenceMaximum(*evidence_op(eigenvalues, energy, residual, count, backend))


@custom_op("hubfast::evidence", mutates_args=())
def evidence_op(
    eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int, backend: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    find: Climb | None = None
    match choose(backend, *on_device(energy, cpu=("native",), cuda=("triton", "cuda"))):
        case "native":
            find = native.climb
        case "cuda":
            return native_cuda.search(native_cuda.Problem(eigenvalues, energy, residual, count))
        case "triton":
            from hubfast.kernels.evidence import climb  # triton is slow to import

            find = climb
    return reference.evidence(eigenvalues, energy, residual, count, find)


@evidence_op.register_fake
def _(
    eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int, backend: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    value, t, quadratic = (torch.empty_like(residual) for _ in range(3))
    return value, t, quadratic
