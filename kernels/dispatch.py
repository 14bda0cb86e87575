"""Rows of a batch in the order of models, and their weighted sum. Spec: `reference.dispatch`.

`_dispatch_fwd` gathers, casts and turns to channels last in one pass: it reads and writes each
element once. The way back and `_combine_fwd` gather a sample's k rows, so nothing is added by two
programs. `_combine_bwd` reads each row once and writes its gradient and its gate's.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from hubfast.ops.routing.reference import memory_format, room

BLOCK = 1024


@triton.jit(do_not_specialize=["start"])
def _dispatch_fwd(
    batch_ptr,
    order_ptr,
    rows_ptr,
    start,
    k,
    channels,
    pixels,
    stride_b,
    stride_c,
    stride_p,
    BLOCK: tl.constexpr,
):
    p = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    size = channels * pixels
    b = tl.load(order_ptr + start + p) // k
    source = (i % channels).to(tl.int64) * stride_c + (i // channels).to(tl.int64) * stride_p
    x = tl.load(batch_ptr + b * stride_b + source, mask=i < size, other=0.0)
    tl.store(rows_ptr + p * size + i, x, mask=i < size)


@triton.jit(do_not_specialize=["start", "stop"])
def _dispatch_bwd(
    d_rows_ptr, position_ptr, d_batch_ptr, start, stop, size, K: tl.constexpr, BLOCK: tl.constexpr
):
    b = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for j in tl.static_range(K):
        p = tl.load(position_ptr + b * K + j)
        mask = (p >= start) & (p < stop)
        row = tl.where(mask, p - start, 0)
        x = tl.load(d_rows_ptr + row * size + i, mask=mask & (i < size), other=0.0)
        total += x.to(tl.float32)
    tl.store(d_batch_ptr + b * size + i, total, mask=i < size)


@triton.jit
def _combine_fwd(
    rows_ptr, gates_ptr, position_ptr, out_ptr, width, K: tl.constexpr, BLOCK: tl.constexpr
):
    b = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for j in tl.static_range(K):
        p = tl.load(position_ptr + b * K + j)
        gate = tl.load(gates_ptr + b * K + j).to(tl.float32)
        x = tl.load(rows_ptr + p * width + i, mask=i < width, other=0.0)
        total += gate * x.to(tl.float32)
    tl.store(out_ptr + b * width + i, total, mask=i < width)


@triton.jit
def _combine_bwd(
    d_out_ptr,
    rows_ptr,
    gates_ptr,
    position_ptr,
    d_rows_ptr,
    d_gates_ptr,
    width,
    k,
    BLOCK: tl.constexpr,
):
    pair = tl.program_id(0).to(tl.int64)
    p = tl.load(position_ptr + pair)
    gate = tl.load(gates_ptr + pair).to(tl.float32)
    dot = tl.zeros([BLOCK], tl.float32)
    for first in range(0, width, BLOCK):
        i = first + tl.arange(0, BLOCK)
        d_out = tl.load(d_out_ptr + (pair // k) * width + i, mask=i < width, other=0.0)
        d_out = d_out.to(tl.float32)
        x = tl.load(rows_ptr + p * width + i, mask=i < width, other=0.0)
        dot += d_out * x.to(tl.float32)
        tl.store(d_rows_ptr + p * width + i, gate * d_out, mask=i < width)
    tl.store(d_gates_ptr + pair, tl.sum(dot, axis=0))


def dispatch(
    batch: Tensor, order: Tensor, k: int, start: int, stop: int, dtype: torch.dtype
) -> Tensor:
    """`reference.dispatch`; images of any strides, other batches contiguous."""
    rows = room(batch, stop - start, dtype)
    if not rows.numel():
        return rows
    plane = batch.ndim == 4 and batch.stride(2) == batch.shape[3] * batch.stride(3)
    if not plane:
        batch = batch.contiguous()
    channels, pixels, stride_c, stride_p = 1, rows[0].numel(), 0, 1
    if batch.ndim == 4:
        channels, pixels = batch.shape[1], batch.shape[2] * batch.shape[3]
        stride_c, stride_p = batch.stride(1), batch.stride(3)
    _dispatch_fwd[(len(rows), triton.cdiv(channels * pixels, BLOCK))](
        batch,
        order.contiguous(),
        rows,
        start,
        k,
        channels,
        pixels,
        batch.stride(0),
        stride_c,
        stride_p,
        BLOCK=BLOCK,
    )
    return rows


def dispatch_backward(d_rows: Tensor, position: Tensor, start: int, dtype: torch.dtype) -> Tensor:
    """`reference.dispatch_backward`."""
    layout = memory_format(d_rows)
    d_rows, position = d_rows.contiguous(memory_format=layout), position.contiguous()
    samples, k = position.shape
    d_batch = room(d_rows, samples, dtype)
    if d_batch.numel():
        size = d_batch[0].numel()
        stop = start + len(d_rows)
        grid = (samples, triton.cdiv(size, BLOCK))
        _dispatch_bwd[grid](d_rows, position, d_batch, start, stop, size, K=k, BLOCK=BLOCK)
    return d_batch


def combine(rows: Tensor, gates: Tensor, position: Tensor) -> Tensor:
    """`reference.combine`, summed in float32."""
    out = rows.new_empty(len(gates), rows.shape[1])
    if out.numel():
        width, block = rows.shape[1], _block(rows)
        _combine_fwd[(len(gates), triton.cdiv(width, block))](
            rows.contiguous(),
            gates.contiguous(),
            position.contiguous(),
            out,
            width,
            K=gates.shape[1],
            BLOCK=block,
        )
    return out


def combine_backward(
    d_out: Tensor, rows: Tensor, gates: Tensor, position: Tensor
) -> tuple[Tensor, Tensor]:
    """`reference.combine_backward`, summed in float32."""
    rows, gates = rows.contiguous(), gates.contiguous()
    d_rows, d_gates = rows.new_empty(rows.shape), gates.new_empty(gates.shape)
    if d_gates.numel():
        _combine_bwd[(gates.numel(),)](
            d_out.contiguous(),
            rows,
            gates,
            position.contiguous(),
            d_rows,
            d_gates,
            rows.shape[1],
            gates.shape[1],
            BLOCK=_block(rows),
        )
    return d_rows, d_gates


def _block(rows: Tensor) -> int:
    return min(BLOCK, triton.next_power_of_2(max(rows.shape[1], 1)))
