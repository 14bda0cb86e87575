"""The native core's climb of the evidence (csrc/evidence.cpp)."""

import torch
from torch import Tensor

from hubfast.ops.evidence.reference import (
    GRID_STEP,
    NEWTON_STEPS,
    NEWTON_TOLERANCE,
    EvidenceMaximum,
)
from hubfast.ops.linalg.native import array
from hubfast.utils.threads import cores


def climb(
    log_t: Tensor, eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int
) -> EvidenceMaximum:
    """`reference.climb` with one fused pass over the data per step.

    Raises:
        RuntimeError: The search did not converge for a column.
    """
    import hubfast._native as core

    *arrays, failed = core.climb(
        eigenvalues=array(eigenvalues),
        energy=array(energy.T),  # (C, k)
        residual=array(residual),
        count=count,
        log_t=array(log_t),
        grid_step=GRID_STEP,
        tolerance=NEWTON_TOLERANCE,
        max_steps=NEWTON_STEPS,
        threads=cores(),
    )
    if failed:
        raise RuntimeError(f"the evidence search did not converge for {failed} columns")
    log_t, value, quadratic = map(torch.from_numpy, arrays)
    return EvidenceMaximum(value, log_t.exp(), quadratic)
