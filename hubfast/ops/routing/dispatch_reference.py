"""Rows of a batch in the order of the models that take them, and the way back."""

import torch
from torch import Tensor


def dispatch(
    batch: Tensor, order: Tensor, k: int, start: int, stop: int, dtype: torch.dtype
) -> Tensor:
    """Rows start..stop: `out[p - start] = batch[order[p] // k]`, cast; images channels last."""
    rows = batch.index_select(0, order[start:stop] // k).to(dtype)
    return rows.contiguous(memory_format=memory_format(batch))


def dispatch_backward(d_rows: Tensor, position: Tensor, start: int, dtype: torch.dtype) -> Tensor:
    """Gradient of the batch: each sample sums over those of its k rows that were dispatched."""
    stop = start + len(d_rows)
    inside = (position >= start) & (position < stop)
    exact = torch.promote_types(d_rows.dtype, torch.float32)
    total = d_rows.new_zeros(len(position), *d_rows.shape[1:], dtype=exact)
    for j in range(position.shape[1]):
        samples = inside[:, j].nonzero()[:, 0]
        total[samples] += d_rows[position[samples, j] - start].to(exact)
    return total.to(dtype).contiguous(memory_format=memory_format(d_rows))


def memory_format(batch: Tensor) -> torch.memory_format:
    """Channels last for images, which convolutions read fastest."""
    return torch.channels_last if batch.ndim == 4 else torch.contiguous_format


def combine(rows: Tensor, gates: Tensor, position: Tensor) -> Tensor:
    """`out[b] = sum_j gates[b, j] rows[position[b, j]]`: (B k, E) to (B, E)."""
    exact = torch.promote_types(rows.dtype, gates.dtype)
    chosen = rows.to(exact).index_select(0, position.flatten()).unflatten(0, position.shape)
    return (gates.to(exact)[:, :, None] * chosen).sum(1).to(rows.dtype)


def combine_backward(
    d_out: Tensor, rows: Tensor, gates: Tensor, position: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of rows, (B k, E), and of gates, (B, k)."""
    exact = torch.promote_types(rows.dtype, gates.dtype)
    chosen = rows.to(exact).index_select(0, position.flatten()).unflatten(0, position.shape)
    wanted = d_out.to(exact)[:, None]  # (B, 1, E)
    d_rows = torch.empty_like(rows)
    d_rows[position.flatten()] = (gates.to(exact)[:, :, None] * wanted).flatten(0, 1).to(rows.dtype)
    return d_rows, (wanted * chosen).sum(2).to(gates.dtype)
