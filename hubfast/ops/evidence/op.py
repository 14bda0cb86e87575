"""The evidence of every target at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hubfast.ops.backends import choose, expect, on_device
from hubfast.ops.evidence import cuda, native, reference
from hubfast.ops.evidence.reference import Climb, EvidenceInputs, EvidenceMaximum
from hubfast.ops.registration import register


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
        backend: `"native"` (CPU), `"cuda"` (CUDA), `"torch"`, or None.

    Returns:
        Value in nats per sample, t and Q = n / beta, each `(C,)`.

    Raises:
        TypeError: An argument that is not float64.
        ValueError: Shapes that do not fit each other, or a count below 1.
        RuntimeError: The search did not converge for a column.
    """
    _check(EvidenceInputs(eigenvalues, energy, residual, count))
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
        TypeError: An argument that is not float64; the message names the model.
        ValueError: Shapes that do not fit each other, a count below 1, or tensors that are not
            all on one device; the message names the model.
        RuntimeError: A search did not converge; the message names the models.
    """
    if names is None:
        names = [f"model {index}" for index in range(len(inputs))]
    if backend != "cuda" or not inputs:
        return [evidence(*model, backend=backend) for model in inputs]
    device = inputs[0].energy.device
    for model, name in zip(inputs, names, strict=True):
        _check(model, f"{name}: ", device)
    choose("cuda", *on_device(inputs[0].energy, cuda=("cuda",)))
    maxima, missed = cuda.evidence(inputs)
    failed = torch.stack([where.sum() for where in missed]).nonzero().flatten().tolist()
    if failed:
        raise RuntimeError(f"no convergence for: {', '.join(names[i] for i in failed)}")
    return maxima


def _check(model: EvidenceInputs, whose: str = "", device: torch.device | None = None) -> None:
    """Checks the arguments of a search before a kernel gets their addresses."""
    eigenvalues, energy, residual, count = model
    expect(eigenvalues, f"{whose}eigenvalues", (None,))
    expect(energy, f"{whose}energy", (len(eigenvalues), None))
    expect(residual, f"{whose}residual", (energy.shape[1],))
    if count < 1:
        raise ValueError(f"{whose}count must be at least 1, got {count}")
    wanted = device or energy.device
    for name, x in (("eigenvalues", eigenvalues), ("energy", energy), ("residual", residual)):
        if x.device != wanted:
            raise ValueError(f"{whose}{name} must be on {wanted}, got {x.device}")


def _fake_evidence(
    eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int, backend: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    value, t, quadratic = (torch.empty_like(residual) for _ in range(3))
    return value, t, quadratic


@register("evidence", fake=_fake_evidence)
def _evidence_op(
    eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int, backend: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    find: Climb | None = None
    match choose(backend, *on_device(energy, cpu=("native",), cuda=("cuda",))):
        case "native":
            find = native.climb
        case "cuda":
            find = cuda.climb
    return reference.evidence(eigenvalues, energy, residual, count, find)
