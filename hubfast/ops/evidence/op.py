"""The evidence of every target at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hubfast.ops.backends import choose, expect, on_device
from hubfast.ops.evidence import cuda, native, reference
from hubfast.ops.evidence.reference import Climb, EvidenceInputs, EvidenceMaximum


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
        eigenvalues: Eigenvalues of F'F, `(k,)` float64, >= 0; zeros stand for dropped directions.
        energy: Squared projections (U'y)^2, `(k, C)` float64; 0 where the eigenvalue is.
        residual: |y|^2 - sum of energy, `(C,)` float64, >= 0.
        count: Number of samples n.
        backend: `"native"` (CPU), `"triton"` or `"cuda"` (CUDA: the climbs alone, or the whole
            search, in one launch), `"torch"`, or None.

    Returns:
        Value in nats per sample, t and Q = n / beta, each `(C,)`.

    Raises:
        TypeError: An argument that is not float64.
        ValueError: Shapes that do not fit each other, or a count below 1.
        RuntimeError: The search did not converge for a column.
    """
    expect(eigenvalues, "eigenvalues", (None,))
    expect(energy, "energy", (len(eigenvalues), None))
    expect(residual, "residual", (energy.shape[1],))
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    return EvidenceMaximum(*_evidence_op(eigenvalues, energy, residual, count, backend))


def evidence_batch(
    inputs: Sequence[EvidenceInputs],
    *,
    names: Sequence[str] | None = None,
    backend: str | None = None,
) -> list[EvidenceMaximum]:
    """`evidence` of many models.

    Args:
        inputs: The arguments of `evidence`, for each model.
        names: What errors call the models; None for "model 0" and so on.
        backend: As in `evidence`; `"cuda"` searches for all models and columns in one launch, and
            waits for the GPU once.

    Raises:
        RuntimeError: A search did not converge; the message names the models.
    """
    if names is None:
        names = [f"model {index}" for index in range(len(inputs))]
    if backend != "cuda" or not inputs:
        return [evidence(*model, backend=backend) for model in inputs]
    choose("cuda", *on_device(inputs[0].energy, cuda=("triton", "cuda")))
    maxima, missed = cuda.evidence(inputs)
    failed = torch.stack([where.sum() for where in missed]).nonzero().flatten().tolist()
    if failed:
        raise RuntimeError(f"no convergence for: {', '.join(names[i] for i in failed)}")
    return maxima


@torch.library.custom_op("hubfast::evidence", mutates_args=())
def _evidence_op(
    eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int, backend: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    find: Climb | None = None
    match choose(backend, *on_device(energy, cpu=("native",), cuda=("triton", "cuda"))):
        case "native":
            find = native.climb
        case "cuda":
            return cuda.search(EvidenceInputs(eigenvalues, energy, residual, count))
        case "triton":
            from hubfast.kernels.evidence import climb  # triton is slow to import

            find = climb
    return reference.evidence(eigenvalues, energy, residual, count, find)


@_evidence_op.register_fake
def _(
    eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int, backend: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    value, t, quadratic = (torch.empty_like(residual) for _ in range(3))
    return value, t, quadratic
