"""Calls the native core `hubfast._native` (csrc/) on tensors, by address."""

import torch
from torch import Tensor

from hubfast.reference import GRID_STEP, NEWTON_STEPS, NEWTON_TOLERANCE, EvidenceMaximum


def climb(
    log_t: Tensor, eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int
) -> EvidenceMaximum:
    """`reference.climb` in one fused pass a step; float64 on the CPU.

    Raises:
        RuntimeError: A column did not converge.
    """
    import hubfast._native as core  # optional, so imported only where it was chosen

    k, columns = energy.shape
    eigenvalues, residual = eigenvalues.contiguous(), residual.contiguous()
    by_column = energy.T.contiguous()  # (C, k)
    log_t = log_t.clone()
    value, quadratic = torch.empty_like(log_t), torch.empty_like(log_t)
    failed = core.climb(
        eigenvalues=eigenvalues.data_ptr(),
        energy=by_column.data_ptr(),
        residual=residual.data_ptr(),
        k=k,
        columns=columns,
        count=count,
        log_t=log_t.data_ptr(),
        value=value.data_ptr(),
        quadratic=quadratic.data_ptr(),
        grid_step=GRID_STEP,
        tolerance=NEWTON_TOLERANCE,
        max_steps=NEWTON_STEPS,
    )
    if failed:
        raise RuntimeError(f"the evidence search did not converge for {failed} columns")
    return EvidenceMaximum(value, log_t.exp(), quadratic)
