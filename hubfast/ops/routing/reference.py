"""Routing of samples to k of M models: noisy top-k gates, the maps that group rows by model, the
rows of a batch in that order, and the way back."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus


class Routes(NamedTuple):
    """Where each sample goes. A row is a (sample, model) pair; rows are in the order of models."""

    gates: Tensor  # (B, k) weights of the chosen models, float32 or float64
    probabilities: Tensor  # (B, M) softmax over all models
    entropy: Tensor  # (2,) nats: mean of the samples' own, that of the mean probabilities
    chosen: Tensor  # (B, k) int64 models, most probable first
    counts: Tensor  # (M,) int64, rows of each model
    offsets: Tensor  # (M + 1,) int64, first row of each model
    order: Tensor  # (B k,) int64, pair b k + j of each row
    position: Tensor  # (B, k) int64, row of each pair: the inverse of `order`


def route(
    logits: Tensor, k: int, spread: Tensor | None = None, noise: Tensor | None = None
) -> Routes:
    """Noisy top-k routing: see `hubfast.ops.route`."""
    exact = torch.promote_types(logits.dtype, torch.float32)
    noisy = logits.to(exact)
    if spread is not None and noise is not None:
        noisy = noisy + softplus(spread.to(exact)) * noise.to(exact)
    ranked = noisy.sort(dim=1, descending=True, stable=True)
    index = ranked.indices[:, :k].contiguous()
    log_probabilities = noisy.log_softmax(1)
    probabilities = log_probabilities.exp()
    # Over the only one selected the softmax would be 1, and its gradient 0.
    gates = probabilities.gather(1, index) if k == 1 else ranked.values[:, :k].softmax(1)
    entropy = _entropy(probabilities, log_probabilities)
    return Routes(gates, probabilities, entropy, index, *group(index, logits.shape[1]))


def group(index: Tensor, models: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Counts, offsets, order and position of the rows of `index` (B, k)."""
    flat = index.flatten()
    counts = (flat[:, None] == torch.arange(models, device=index.device)).sum(0)
    order = flat.argsort(stable=True)
    return counts, pad(counts.cumsum(0), (1, 0)), order, order.argsort().view_as(index)


def _entropy(probabilities: Tensor, log_probabilities: Tensor) -> Tensor:
    samples = max(len(probabilities), 1)
    # A model that is ruled out has probability 0 and logarithm -inf.
    terms = torch.where(probabilities == 0, 0, probabilities * log_probabilities)
    mean = _mean(probabilities)
    return torch.stack([-terms.sum() / samples, -(mean * mean.log()).sum()])


def _mean(probabilities: Tensor) -> Tensor:
    """The mean over the batch; never 0, since its logarithm would be infinite."""
    mean = probabilities.sum(0) / max(len(probabilities), 1)
    return mean.clamp(min=torch.finfo(mean.dtype).tiny)


def route_backward(
    d_gates: Tensor,
    d_probabilities: Tensor,
    d_entropy: Tensor,
    gates: Tensor,
    probabilities: Tensor,
    index: Tensor,
    spread: Tensor | None,
    noise: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Gradients of the logits and of `spread`, both (B, M); the second is 0 without noise.

    With p = softmax(h): dh = p (dp - sum p dp), for the gates likewise; dH_b/dh = -p (log p + H_b)
    and dH(mean p)/dp = -(log mean p + 1) / B.
    """
    samples, k = index.shape
    log = torch.where(probabilities == 0, 1, probabilities).log()
    own = -(probabilities * log).sum(1, keepdim=True)
    d_p = d_probabilities - d_entropy[1] * (_mean(probabilities).log() + 1) / samples
    if k == 1:
        d_p = d_p.scatter_add(1, index, d_gates)
    d_noisy = probabilities * (d_p - (probabilities * d_p).sum(1, keepdim=True))
    d_noisy = d_noisy - d_entropy[0] * probabilities * (log + own) / samples
    if k > 1:
        d_selected = gates * (d_gates - (gates * d_gates).sum(1, keepdim=True))
        d_noisy = d_noisy.scatter_add(1, index, d_selected)
    if spread is None or noise is None:
        return d_noisy, torch.zeros_like(d_noisy)
    return d_noisy, d_noisy * noise.to(d_noisy.dtype) * spread.to(d_noisy.dtype).sigmoid()


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


def room(batch: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Room for `count` rows of the shape of those of `batch`, in the order of `memory_format`."""
    shape, layout = (count, *batch.shape[1:]), memory_format(batch)
    return torch.empty(shape, dtype=dtype, device=batch.device, memory_format=layout)


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
    d_rows = rows.new_empty(rows.shape)
    d_rows[position.flatten()] = (gates.to(exact)[:, :, None] * wanted).flatten(0, 1).to(rows.dtype)
    return d_rows, (wanted * chosen).sum(2).to(gates.dtype)
