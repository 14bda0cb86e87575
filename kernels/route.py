"""Routing of samples to k of M models in one launch. Spec: `reference.route`.

One program does a whole batch, a tile of samples at a time: it reads logits, spread and noise once
(12 B M bytes) and writes gates, probabilities and the index maps. There are neither atomics nor
sorts: a row's index is its model's offset plus the number of earlier rows of that model, from a
cumulative sum of one-hot tiles. Batches of a vision model are small; the time grows with B.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_CELLS = 2048  # of the largest tile, (samples, k, models): as many as registers hold
TINY = tl.constexpr(1.1754943508222875e-38)  # float32's least normal number


@triton.jit
def _softplus(x):
    """log(1 + e^x): Kahan's form keeps what 1 + e^-|x| rounds off."""
    small = tl.exp(-tl.abs(x))
    rounded = 1 + small
    correct = small / tl.where(rounded == 1, 1.0, rounded - 1)
    log = tl.where(rounded == 1, small, tl.log(rounded) * correct)
    return tl.maximum(x, 0.0) + log


@triton.jit
def _noisy(logits_ptr, spread_ptr, noise_ptr, cells, mask, NOISY: tl.constexpr):
    h = tl.load(logits_ptr + cells, mask=mask, other=0.0).to(tl.float32)
    if NOISY:
        spread = tl.load(spread_ptr + cells, mask=mask, other=0.0).to(tl.float32)
        noise = tl.load(noise_ptr + cells, mask=mask, other=0.0).to(tl.float32)
        h += _softplus(spread) * noise
    return h


@triton.jit
def _keys(h):
    """Integers in the order of the floats, NaN the greatest, as torch sorts."""
    bits = (h + 0.0).to(tl.int32, bitcast=True)  # -0 becomes 0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return tl.where(h != h, 0x7FFFFFFF, ordered)


@triton.jit(do_not_specialize=["B"])
def _route_fwd(
    logits_ptr,
    spread_ptr,
    noise_ptr,
    gates_ptr,
    probabilities_ptr,
    entropy_ptr,
    chosen_ptr,
    counts_ptr,
    offsets_ptr,
    order_ptr,
    position_ptr,
    B,
    M,
    K: tl.constexpr,
    NOISY: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    models = tl.arange(0, BLOCK_M)
    choices = tl.arange(0, BLOCK_K)
    model_mask = models < M
    counts = tl.zeros([BLOCK_M], tl.int32)
    total = tl.zeros([BLOCK_M], tl.float32)
    own = 0.0
    for start in range(0, B, BLOCK_B):
        samples = (start + tl.arange(0, BLOCK_B)).to(tl.int64)
        cells = samples[:, None] * M + models[None]
        mask = (samples[:, None] < B) & model_mask[None]
        h = _noisy(logits_ptr, spread_ptr, noise_ptr, cells, mask, NOISY)
        finite = tl.where(model_mask[None], h, float("-inf"))
        top = tl.max(finite, axis=1)
        e = tl.where(model_mask[None], tl.exp(h - top[:, None]), 0.0)
        norm = tl.sum(e, axis=1)
        p = e / norm[:, None]
        tl.store(probabilities_ptr + cells, p, mask=mask)
        p = tl.where(mask, p, 0.0)
        total += tl.sum(p, axis=0)
        log = tl.where(p == 0, 0.0, h - top[:, None] - tl.log(norm)[:, None])
        own -= tl.sum(tl.sum(p * log, axis=1), axis=0)

        left = tl.where(model_mask[None], _keys(h), -0x80000000)
        chosen = tl.zeros([BLOCK_B, BLOCK_K], tl.int32)
        value = tl.full([BLOCK_B, BLOCK_K], float("-inf"), tl.float32)
        for j in tl.static_range(K):
            best = tl.max(left, axis=1)
            m = tl.min(tl.where(left == best[:, None], models[None], BLOCK_M), axis=1)
            mine = models[None] == m[:, None]
            left = tl.where(mine, -0x80000000, left)
            chosen = tl.where(choices[None] == j, m[:, None], chosen)
            value = tl.where(choices[None] == j, tl.sum(tl.where(mine, h, 0.0), 1)[:, None], value)
            counts += tl.sum((mine & mask).to(tl.int32), axis=0)
        pairs = samples[:, None] * K + choices[None]
        pair_mask = (samples[:, None] < B) & (choices[None] < K)
        tl.store(chosen_ptr + pairs, chosen.to(tl.int64), mask=pair_mask)
        if K == 1:
            gates = tl.exp(value - top[:, None]) / norm[:, None]
        else:
            weight = tl.where(choices[None] < K, tl.exp(value - tl.max(value, 1)[:, None]), 0.0)
            gates = weight / tl.sum(weight, axis=1)[:, None]
        tl.store(gates_ptr + pairs, gates, mask=pair_mask)

    mean = total / tl.maximum(B, 1)
    mean = tl.where(mean < TINY, TINY, mean)  # NaN stays
    between = -tl.sum(tl.where(model_mask, mean * tl.log(mean), 0.0), axis=0)
    tl.store(entropy_ptr, own / tl.maximum(B, 1))
    tl.store(entropy_ptr + 1, between)
    upto = tl.cumsum(counts, axis=0)
    tl.store(counts_ptr + models, counts.to(tl.int64), mask=model_mask)
    tl.store(offsets_ptr + 1 + models, upto.to(tl.int64), mask=model_mask)
    tl.store(offsets_ptr, 0)

    tl.debug_barrier()  # the choices below were written by other threads of this program
    first = upto - counts
    slots = tl.arange(0, BLOCK_B * BLOCK_K)
    for start in range(0, B, BLOCK_B):
        pair = start * K + slots  # BLOCK_B K of them: those beyond belong to the next tile
        pair_mask = (slots < BLOCK_B * K) & (pair < B * K)
        model = tl.load(chosen_ptr + pair, mask=pair_mask, other=BLOCK_M).to(tl.int32)
        mine = (model[:, None] == models[None]).to(tl.int32)
        earlier = tl.cumsum(mine, axis=0) - mine
        row = tl.sum(mine * (first[None] + earlier), axis=1)
        tl.store(position_ptr + pair, row.to(tl.int64), mask=pair_mask)
        tl.store(order_ptr + row, pair.to(tl.int64), mask=pair_mask)
        first += tl.sum(mine, axis=0)


def route(
    logits: Tensor, k: int, spread: Tensor | None, noise: Tensor | None
) -> tuple[Tensor, ...]:
    """`reference.route` on the device of the logits, computed in float32."""
    batch, models = logits.shape
    shapes = ((batch, k), (batch, models), (2,))
    floats = [logits.new_empty(shape, dtype=torch.float32) for shape in shapes]
    shapes = ((batch, k), (models,), (models + 1,), (batch * k,), (batch, k))
    maps = [logits.new_empty(shape, dtype=torch.int64) for shape in shapes]
    logits = logits.contiguous()
    noisy = spread is not None and noise is not None
    given = (spread.contiguous(), noise.contiguous()) if noisy else (logits, logits)
    block_m, block_k = triton.next_power_of_2(models), triton.next_power_of_2(k)
    _route_fwd[(1,)](
        logits,
        *given,
        *floats,
        *maps,
        batch,
        models,
        K=k,
        NOISY=noisy,
        BLOCK_B=tile(batch, block_m * block_k),
        BLOCK_M=block_m,
        BLOCK_K=block_k,
    )
    return *floats, *maps


def tile(batch: int, cells: int) -> int:
    """How many samples fit a tile when each has so many cells."""
    return max(1, min(triton.next_power_of_2(max(batch, 1)), MOST_CELLS // cells))
