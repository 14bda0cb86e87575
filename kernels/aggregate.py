"""Gate-weighted sums of a hub's weights, `out_b = sum_m gates_bm weights_m`; and both gradients.

Spec: `reference.aggregate`. One program takes a block of weights of all M models, keeps it in
registers and serves every sample from it: forward reads M P and writes B P values for P weights per
model. Backward reads the B P gradients and the M P weights once and yields both gradients; those of
the gates as one partial sum per block, added up in a fixed order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

ELEMENTS = 4096  # of a block of all models: as many as registers hold


@triton.jit
def _aggregate(
    weights_ptr,  # (M, P)
    gates_ptr,  # (B, M)
    out_ptr,  # (B, P)
    M,
    B,
    P,
    SAMPLES: tl.constexpr,
    MODELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m = tl.arange(0, MODELS)
    mask = (m[:, None] < M) & (p[None, :] < P)
    weights = tl.load(weights_ptr + m[:, None] * P + p[None, :], mask=mask, other=0.0)
    weights = weights.to(tl.float32)
    first = tl.program_id(1).to(tl.int64) * SAMPLES
    for b in range(first, tl.minimum(first + SAMPLES, B)):
        gates = tl.load(gates_ptr + b * M + m, mask=m < M, other=0.0).to(tl.float32)
        mixed = tl.sum(gates[:, None] * weights, axis=0)
        tl.store(out_ptr + b * P + p, mixed.to(out_ptr.dtype.element_ty), mask=p < P)


@triton.jit
def _aggregate_backward(
    grad_ptr,  # (B, P)
    weights_ptr,  # (M, P)
    gates_ptr,  # (B, M)
    weights_grad_ptr,  # (M, P)
    partial_ptr,  # (blocks, B, M) float32
    M,
    B,
    P,
    MODELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    block = tl.program_id(0).to(tl.int64)
    p = block * BLOCK + tl.arange(0, BLOCK)
    m = tl.arange(0, MODELS)
    mask = (m[:, None] < M) & (p[None, :] < P)
    offset = m[:, None] * P + p[None, :]
    weights = tl.load(weights_ptr + offset, mask=mask, other=0.0).to(tl.float32)
    total = tl.zeros([MODELS, BLOCK], tl.float32)
    for b in range(B):
        gates = tl.load(gates_ptr + b * M + m, mask=m < M, other=0.0).to(tl.float32)
        grad = tl.load(grad_ptr + p, mask=p < P, other=0.0).to(tl.float32)
        grad_ptr += P  # not b P, which may pass 2^31
        total += gates[:, None] * grad[None, :]
        part = tl.sum(weights * grad[None, :], axis=1)
        tl.store(partial_ptr + (block * B + b) * M + m, part, mask=m < M)
    tl.store(weights_grad_ptr + offset, total.to(weights_grad_ptr.dtype.element_ty), mask=mask)


def block_of(models: int, size: int) -> dict[str, int]:
    """How many models and weights a block has, both powers of two."""
    rows = triton.next_power_of_2(models)
    return {
        "MODELS": rows,
        "BLOCK": min(max(ELEMENTS // rows, 32), triton.next_power_of_2(size)),
    }


def aggregate(weights: Tensor, gates: Tensor, dtype: torch.dtype) -> Tensor:
    """`reference.aggregate` for CUDA tensors; sums in float32."""
    weights, gates = weights.contiguous(), gates.contiguous()
    models, samples, size = len(weights), len(gates), weights[0].numel()
    out = weights.new_empty(samples, *weights.shape[1:], dtype=dtype)
    block = block_of(models, size)
    blocks = triton.cdiv(size, block["BLOCK"])
    each = samples if blocks >= 512 else 8  # few blocks: samples are spread over the device, too
    grid = (blocks, triton.cdiv(samples, each))
    _aggregate[grid](weights, gates, out, models, samples, size, SAMPLES=each, **block)
    return out


def aggregate_backward(grad: Tensor, weights: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """`reference.aggregate_backward` for CUDA tensors; the same bits each time."""
    grad, weights, gates = grad.contiguous(), weights.contiguous(), gates.contiguous()
    models, samples, size = len(weights), len(gates), weights[0].numel()
    block = block_of(models, size)
    blocks = triton.cdiv(size, block["BLOCK"])
    weights_grad = torch.empty_like(weights)
    partial = weights.new_empty(blocks, samples, models, dtype=torch.float32)
    sizes = (models, samples, size)
    _aggregate_backward[(blocks,)](grad, weights, gates, weights_grad, partial, *sizes, **block)
    return weights_grad, partial.sum(0).to(gates.dtype)
