"""Gradient of routing in one launch. Spec: `reference.route_backward`.

One program reads the probabilities twice, first for their mean over the batch, and the other inputs
once (about 20 B M bytes), and writes the gradients of logits and spread.
"""

import torch
import triton
import triton.language as tl
from hubfast.kernels.route import TINY, tile
from torch import Tensor


@triton.jit(do_not_specialize=["B"])
def _route_bwd(
    d_gates_ptr,
    d_probabilities_ptr,
    d_entropy_ptr,
    gates_ptr,
    probabilities_ptr,
    chosen_ptr,
    spread_ptr,
    noise_ptr,
    d_logits_ptr,
    d_spread_ptr,
    B,
    M,
    K: tl.constexpr,
    NOISY: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    models = tl.arange(0, BLOCK_M)
    total = tl.zeros([BLOCK_M], tl.float32)
    for start in range(0, B, BLOCK_B):
        samples = (start + tl.arange(0, BLOCK_B)).to(tl.int64)
        cells = samples[:, None] * M + models[None]
        mask = (samples[:, None] < B) & (models[None] < M)
        total += tl.sum(tl.load(probabilities_ptr + cells, mask=mask, other=0.0), axis=0)
    d_own, d_between = tl.load(d_entropy_ptr) / B, tl.load(d_entropy_ptr + 1) / B
    mean = total / B
    d_mean = -d_between * (tl.log(tl.where(mean < TINY, TINY, mean)) + 1)

    for start in range(0, B, BLOCK_B):
        samples = (start + tl.arange(0, BLOCK_B)).to(tl.int64)
        cells = samples[:, None] * M + models[None]
        mask = (samples[:, None] < B) & (models[None] < M)
        p = tl.load(probabilities_ptr + cells, mask=mask, other=0.0)
        d_p = tl.load(d_probabilities_ptr + cells, mask=mask, other=0.0) + d_mean[None]
        sample_mask = samples < B
        selected = tl.zeros([BLOCK_B, BLOCK_M], tl.float32)  # the gates' share
        mixed = tl.zeros([BLOCK_B], tl.float32)
        for j in tl.static_range(K):
            gate = tl.load(gates_ptr + samples * K + j, mask=sample_mask, other=0.0)
            mixed += gate * tl.load(d_gates_ptr + samples * K + j, mask=sample_mask, other=0.0)
        for j in tl.static_range(K):
            m = tl.load(chosen_ptr + samples * K + j, mask=sample_mask, other=BLOCK_M)
            gate = tl.load(gates_ptr + samples * K + j, mask=sample_mask, other=0.0)
            d_gate = tl.load(d_gates_ptr + samples * K + j, mask=sample_mask, other=0.0)
            mine = models[None] == m[:, None]
            if K == 1:  # the gate is a probability
                d_p += tl.where(mine, d_gate[:, None], 0.0)
            else:
                selected += tl.where(mine, (gate * (d_gate - mixed))[:, None], 0.0)
        log = tl.log(tl.where(p == 0, 1.0, p))
        own = -tl.sum(p * log, axis=1)
        d_h = p * (d_p - tl.sum(p * d_p, axis=1)[:, None]) + selected
        d_h -= d_own * p * (log + own[:, None])
        tl.store(d_logits_ptr + cells, d_h, mask=mask)
        if NOISY:
            spread = tl.load(spread_ptr + cells, mask=mask, other=0.0).to(tl.float32)
            noise = tl.load(noise_ptr + cells, mask=mask, other=0.0).to(tl.float32)
            tl.store(d_spread_ptr + cells, d_h * noise / (1 + tl.exp(-spread)), mask=mask)


def route_backward(
    d_gates: Tensor,
    d_probabilities: Tensor,
    d_entropy: Tensor,
    gates: Tensor,
    probabilities: Tensor,
    chosen: Tensor,
    spread: Tensor | None,
    noise: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """`reference.route_backward`, float32."""
    batch, models = probabilities.shape
    d_logits = probabilities.new_empty(probabilities.shape)
    noisy = spread is not None and noise is not None
    d_spread = torch.empty_like(d_logits) if noisy else torch.zeros_like(d_logits)
    if not batch:
        return d_logits, d_spread
    given = (spread.contiguous(), noise.contiguous()) if noisy else (d_logits, d_logits)
    block_m = triton.next_power_of_2(models)
    _route_bwd[(1,)](
        d_gates.contiguous(),
        d_probabilities.contiguous(),
        d_entropy.contiguous(),
        gates.contiguous(),
        probabilities.contiguous(),
        chosen.contiguous(),
        *given,
        d_logits,
        d_spread,
        batch,
        models,
        K=chosen.shape[1],
        NOISY=noisy,
        BLOCK_B=tile(batch, block_m),
        BLOCK_M=block_m,
    )
    return d_logits, d_spread
