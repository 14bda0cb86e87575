"""Gate-weighted sums of a hub's weights, `out_b = sum_m gates_bm weights_m`; and both gradients.

Spec: `reference.aggregate`. Forward, a program takes a block of weights of all M models, keeps it
in registers and serves many samples from it: it reads M P and writes B P values for P weights per
model. Backward reads the B P gradients and the M P weights once and yields both gradients by tensor
cores, 16 samples at a time; those of the gates as one partial sum per block, added up in a fixed
order. Models and samples times weights may pass 2^31.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from hubfast.ops.zoo_conv.geometry import empty_in_order, in_order, memory_order

WEIGHTS = 512  # of a program's block forward, fewer where many models share the registers
SAMPLES = 16  # of one product of tensor cores
WARPS = 4  # of a program backward, each with weights of its own
MOST_SPLITS = 65_535  # the limit of a grid's second side


@triton.jit(do_not_specialize=["B", "EACH"])
def _aggregate(
    weights_ptr,  # (M, P)
    gates_ptr,  # (B, M)
    out_ptr,  # (B, P)
    B,
    P,
    EACH,  # samples per program
    MODELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    weights = ()
    for _ in tl.static_range(MODELS):
        block = tl.load(weights_ptr + p, mask=p < P, other=0.0)
        weights = weights + (block.to(tl.float32),)  # noqa: RUF005 - Triton has no starred tuples
        weights_ptr += P
    first = tl.program_id(1).to(tl.int64) * EACH
    gates_ptr += first * MODELS
    out_ptr += first * P
    for _ in range(first, tl.minimum(first + EACH, B)):
        mixed = tl.zeros([BLOCK], tl.float32)
        for m in tl.static_range(MODELS):
            mixed += tl.load(gates_ptr + m).to(tl.float32) * weights[m]
        tl.store(out_ptr + p, mixed.to(out_ptr.dtype.element_ty), mask=p < P)
        gates_ptr += MODELS
        out_ptr += P


@triton.jit
def _add_product(total, wide, narrow, PARTS: tl.constexpr):
    """Adds `wide @ narrow`; the float32 matrix becomes a sum of PARTS of the other's dtype."""
    # What float16 leaves of small weights would be below its range.
    STEP: tl.constexpr = 2048.0 if narrow.dtype == tl.float16 else 1.0
    total = tl.dot(wide.to(narrow.dtype), narrow, total, input_precision="tf32x3")
    for _ in tl.static_range(1, PARTS):
        wide = (wide - wide.to(narrow.dtype).to(tl.float32)) * STEP
        part = wide.to(narrow.dtype)
        if STEP == 1.0:
            total = tl.dot(part, narrow, total)
        else:  # two parts
            total += tl.dot(part, narrow) / STEP
    return total


@triton.jit(do_not_specialize=["B"])
def _aggregate_backward(
    grad_ptr,  # (B, P)
    weights_ptr,  # (M, P)
    gates_ptr,  # (B, M)
    weights_grad_ptr,  # (M, P)
    partial_ptr,  # (blocks, B, M) float32
    M,
    B,
    P,
    ADD: tl.constexpr,  # to what is in weights_grad
    GATE_PARTS: tl.constexpr,
    WEIGHT_PARTS: tl.constexpr,
    MODELS: tl.constexpr,
    SAMPLES: tl.constexpr,
    WARPS: tl.constexpr,
    BLOCK: tl.constexpr,  # weights per warp
):
    block = tl.program_id(0).to(tl.int64)
    p = tl.arange(0, WARPS)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    p = (block * (WARPS * BLOCK) + p)[:, None, :]
    m = tl.arange(0, MODELS)
    offset = m.to(tl.int64)[None, :, None] * P + p
    held = (m[None, :, None] < M) & (p < P)
    weights = tl.load(weights_ptr + offset, mask=held, other=0.0).to(tl.float32)
    total = tl.zeros([WARPS, MODELS, BLOCK], tl.float32)
    if ADD:
        total += tl.load(weights_grad_ptr + offset, mask=held, other=0.0).to(tl.float32)
    partial_ptr += block * B * M
    for first in range(0, B, SAMPLES):
        b = first + tl.arange(0, SAMPLES)
        row = b.to(tl.int64)
        there = (b[None, :, None] < B) & (p < P)
        grad = tl.load(grad_ptr + row[None, :, None] * P + p, mask=there, other=0.0)
        gate = row[None, :] * M + m[:, None]
        mine = (b[None, :] < B) & (m[:, None] < M)
        gates = tl.load(gates_ptr + gate, mask=mine, other=0.0).to(tl.float32)
        gates = tl.broadcast_to(gates[None], (WARPS, MODELS, SAMPLES))
        total = _add_product(total, gates, grad, GATE_PARTS)
        part = tl.zeros([WARPS, MODELS, SAMPLES], tl.float32)
        part = _add_product(part, weights, tl.trans(grad, 0, 2, 1), WEIGHT_PARTS)
        tl.store(partial_ptr + gate, tl.sum(part, 0), mask=mine)
    tl.store(weights_grad_ptr + offset, total.to(weights_grad_ptr.dtype.element_ty), mask=held)


def aggregate(weights: Tensor, gates: Tensor, dtype: torch.dtype) -> Tensor:
    """`reference.aggregate` for CUDA tensors, in the memory order of the weights."""
    out = empty_in_order(weights, len(gates), dtype)
    aggregate_into(weights, gates, out)
    return out


def aggregate_into(weights: Tensor, gates: Tensor, out: Tensor) -> None:
    """Writes the sums, which are in float32, into `out` `(B, ...)`.

    Args:
        weights: `(M, ...)`, without a copy if dense with the models first.
        gates: `(B, M)`.
        out: Of any dtype, in the memory order of the weights.
    """
    order = memory_order(weights)
    weights, gates, rows = in_order(weights, order), gates.contiguous(), out.permute(order)
    models, samples, size = len(weights), len(gates), out[:1].numel()
    if not out.numel():
        return
    block = max(WEIGHTS // 4, min(WEIGHTS, 16 * WEIGHTS // triton.next_power_of_2(models or 1)))
    blocks = triton.cdiv(size, block)
    few = max(8, triton.cdiv(samples, MOST_SPLITS))
    each = samples if blocks >= 512 else few  # few blocks: samples are spread over the device, too
    grid = (blocks, triton.cdiv(samples, each))
    _aggregate[grid](weights, gates, rows, samples, size, each, MODELS=models, BLOCK=block)


def aggregate_backward(grad: Tensor, weights: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """`reference.aggregate_backward` for CUDA tensors; the same bits each time."""
    weights_grad = empty_in_order(weights, len(weights), weights.dtype)
    gates_grad = torch.empty_like(gates, memory_format=torch.contiguous_format)
    aggregate_backward_into(grad, weights, gates, weights_grad, gates_grad)
    return weights_grad, gates_grad


def aggregate_backward_into(
    grad: Tensor,
    weights: Tensor,
    gates: Tensor,
    weights_grad: Tensor,
    gates_grad: Tensor,
    *,
    add: bool = False,
) -> None:
    """Writes both gradients.

    Products of half-precision gradients by float32 weights and gates keep the latter's precision:
    these are taken as sums of two float16 or three bfloat16 numbers. float32 products are those of
    TF32 in three terms, which is float32's error.

    Args:
        grad: `(B, ...)`; without a copy if in the memory order of the weights.
        weights: `(M, ...)`, without a copy if dense with the models first.
        gates: `(B, M)`.
        weights_grad: `(M, ...)`, in the memory order of the weights.
        gates_grad: `(B, M)`.
        add: Whether the weights' gradient is added to what is in `weights_grad`.
    """
    order = memory_order(weights)
    weights, grad, gates = in_order(weights, order), in_order(grad, order), gates.contiguous()
    models, samples, size = len(weights), len(gates), weights.shape[1:].numel()
    rows = max(16, triton.next_power_of_2(models or 1))
    room = 512 if grad.dtype == torch.float32 else 1024  # what a warp's registers hold
    block = max(16, room // rows)
    blocks = triton.cdiv(size, WARPS * block)
    partial = gates.new_empty(blocks, samples, models, dtype=torch.float32)
    if weights.numel():
        _aggregate_backward[(blocks,)](
            grad,
            weights,
            gates,
            weights_grad.permute(order),
            partial,
            models,
            samples,
            size,
            ADD=add,
            GATE_PARTS=parts_of(gates.dtype, grad.dtype),
            WEIGHT_PARTS=parts_of(weights.dtype, grad.dtype),
            MODELS=rows,
            SAMPLES=SAMPLES,
            WARPS=WARPS,
            BLOCK=block,
            num_warps=WARPS,
        )
    torch.sum(partial, 0, dtype=gates_grad.dtype, out=gates_grad)


def parts_of(wide: torch.dtype, narrow: torch.dtype) -> int:
    """How many numbers of dtype `narrow` add up to one of dtype `wide`, to float32's precision."""
    if narrow in (wide, torch.float32):
        return 1
    return 3 if narrow == torch.bfloat16 else 2
