"""The evidence search on the GPU: one program per target column. Spec: `reference.climb`.

All of a column's Newton steps run in one launch: per step it reads its k eigenvalues and
energies (16 k bytes, from L2 after the first) and writes nothing; at the end three numbers.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from hubfast.ops.evidence.reference import (
    GRID_STEP,
    NEWTON_STEPS,
    NEWTON_TOLERANCE,
    EvidenceMaximum,
)

MAX_BLOCK = 1024


@triton.jit(do_not_specialize=["count"])  # a constant 1 would have no .to
def _climb(
    eigenvalues_ptr,
    energy_ptr,  # (C, k)
    residual_ptr,
    log_t_ptr,  # in and out
    value_ptr,
    quadratic_ptr,
    failed_ptr,
    k,
    count,
    STEPS: tl.constexpr,
    TOLERANCE: tl.constexpr,
    GRID: tl.constexpr,
    BLOCK: tl.constexpr,
):
    c = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, BLOCK)
    n = count.to(tl.float64)
    residual = tl.load(residual_ptr + c)
    log_t = tl.load(log_t_ptr + c)
    low, high = log_t - GRID, log_t + GRID
    moved = log_t - log_t + 1.0
    step = 0
    while (step < STEPS) & (moved >= TOLERANCE):
        t = tl.exp(log_t)
        gamma = tl.zeros([BLOCK], tl.float64)
        kept = tl.zeros([BLOCK], tl.float64)
        q0 = tl.zeros([BLOCK], tl.float64)
        q1 = tl.zeros([BLOCK], tl.float64)
        q2 = tl.zeros([BLOCK], tl.float64)
        for start in range(0, k, BLOCK):
            i = start + lane
            eigenvalue = tl.load(eigenvalues_ptr + i, mask=i < k, other=0.0)
            energy = tl.load(energy_ptr + c * k + i, mask=i < k, other=0.0)
            s = t / (t + eigenvalue)  # 1 past the end: adds nothing below
            variance = s * (1 - s)
            gamma += 1 - s
            kept += variance
            q0 += energy * s
            q1 += energy * variance
            q2 += energy * variance * (1 - 2 * s)
        total = tl.sum(q0) + residual
        ratio = tl.sum(q1) / total
        slope = tl.sum(gamma) - n * ratio
        curvature = -tl.sum(kept) - n * (tl.sum(q2) / total - ratio * ratio)
        low = tl.where(slope > 0, log_t, low)
        high = tl.where(slope > 0, high, log_t)
        newton = log_t - slope / curvature
        inside = (curvature < 0) & (newton >= low) & (newton <= high)
        following = tl.where(inside, newton, (low + high) / 2)
        moved = tl.abs(following - log_t)
        log_t = following
        step += 1

    t = tl.exp(log_t)
    shrunk = tl.zeros([BLOCK], tl.float64)
    log_det = tl.zeros([BLOCK], tl.float64)
    for start in range(0, k, BLOCK):
        i = start + lane
        eigenvalue = tl.load(eigenvalues_ptr + i, mask=i < k, other=0.0)
        energy = tl.load(energy_ptr + c * k + i, mask=i < k, other=0.0)
        shrunk += energy * (t / (t + eigenvalue))
        log_det += tl.log(1 + eigenvalue / t)
    quadratic = tl.sum(shrunk) + residual
    value = -0.5 * (2.8378770664093453 + tl.log(quadratic / n)) - tl.sum(log_det) / (2 * n)
    tl.store(log_t_ptr + c, log_t)
    tl.store(value_ptr + c, value)  # 2.8378... = 1 + log 2 pi
    tl.store(quadratic_ptr + c, quadratic)
    tl.store(failed_ptr + c, (moved >= TOLERANCE).to(tl.int32))


def climb(
    log_t: Tensor, eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int
) -> EvidenceMaximum:
    """`reference.climb` for CUDA tensors; float64.

    Raises:
        RuntimeError: The search did not converge for a column.
    """
    k, columns = energy.shape
    log_t = log_t.clone()
    value, quadratic = torch.empty_like(log_t), torch.empty_like(log_t)
    failed = torch.empty(columns, dtype=torch.int32, device=log_t.device)
    _climb[(columns,)](
        eigenvalues.contiguous(),
        energy.T.contiguous(),
        residual.contiguous(),
        log_t,
        value,
        quadratic,
        failed,
        k,
        count,
        STEPS=NEWTON_STEPS,
        TOLERANCE=NEWTON_TOLERANCE,
        GRID=GRID_STEP,
        BLOCK=min(MAX_BLOCK, triton.next_power_of_2(k)),
    )
    if missed := int(failed.sum()):
        raise RuntimeError(f"the evidence search did not converge for {missed} columns")
    return EvidenceMaximum(value, log_t.exp(), quadratic)
