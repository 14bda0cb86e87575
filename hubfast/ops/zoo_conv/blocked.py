"""Convolutions with weights mixed for each sample, in blocks that stay in the processor's cache.

`y_b = conv(x_b, W_b)` with `W_b = sum_m a_bm W_m`. The B copies of the weights never exist at
once: a block of them is mixed by one matrix product, used, and overwritten; backward mixes it
again. Two ways to use a block, whichever was faster (benchmarks/bench_zoo.py):

- rows: a block of output channels of many samples, as a batched matrix product on the pixels
  (1x1) or on unfolded patches (small maps);
- samples: all of a few samples' weights, one of torch's convolutions per sample (the rest).
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import fold, unfold

from hubfast.ops.zoo_conv.geometry import (
    Geometry,
    convolve,
    convolve_backward,
    empty_like,
    in_order,
    memory_order,
    out_of_order,
    pixels,
    pointwise,
)

BLOCK_BYTES = 16 * 2**20  # of mixed weights: half of a shared cache
PATCH_BYTES = 16 * 2**20  # of unfolded patches
SMALL_MAP = 100  # output pixels up to which unfolding was faster than torch's convolution


def forward(x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry) -> Tensor:
    """`x` (B, I, ...), `weights` (M, O, I / groups, ...), `gates` (B, M) -> (B, O, ...)."""
    size = geometry.output_size(tuple(x.shape[2:]), tuple(weights.shape[3:]))
    y = empty_like(x, weights.shape[1], size)
    if _by_rows(y, weights, geometry):
        _forward_rows(y, x, weights, gates, geometry)
    else:
        order = memory_order(weights)
        rows = in_order(weights, order)
        for part in _parts(len(x), weights[0].nbytes, BLOCK_BYTES):
            mixed = out_of_order(_mix(rows, gates[part], x.dtype), order)
            for b, weight in enumerate(mixed, part.start):
                y[b : b + 1] = convolve(x[b : b + 1], weight, geometry)
    return y


def backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    geometry: Geometry,
    *,
    input_grad: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `x` (empty without `input_grad`), weights and gates."""
    dx = empty_like(x, x.shape[1], tuple(x.shape[2:])) if input_grad else x.new_empty(0)
    rows = _by_rows(grad, weights, geometry)
    run = _backward_rows if rows else _backward_samples
    return (dx, *run(dx, grad, x, weights, gates, geometry))


def _by_rows(y: Tensor, weights: Tensor, geometry: Geometry) -> bool:
    kernel = tuple(weights.shape[3:])
    small = y.ndim == 4 and geometry.groups == 1 and y.shape[2:].numel() <= SMALL_MAP
    return small or pointwise(kernel, geometry)


def _forward_rows(y: Tensor, x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry) -> None:
    kernel = tuple(weights.shape[3:])
    flat, out = weights.flatten(2), pixels(y)
    for samples in _patch_parts(x, flat, out):
        patches = _patches(x[samples], kernel, geometry)
        for rows in _row_parts(flat, patches):
            mixed = _mix(flat[:, rows], gates[samples], x.dtype)
            torch.bmm(mixed, patches, out=out[samples, rows])


def _backward_rows(
    dx: Tensor, grad: Tensor, x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    kernel = tuple(weights.shape[3:])
    flat, grad = weights.flatten(2), pixels(grad)
    d_weights, d_gates = torch.zeros_like(flat), torch.zeros_like(gates)
    for samples in _patch_parts(x, flat, grad):
        patches = _patches(x[samples], kernel, geometry)
        in_place = dx.numel() > 0 and patches.shape[1:] == pixels(dx).shape[1:]
        d_patches = pixels(dx)[samples] if in_place else torch.empty_like(patches)
        for rows in _row_parts(flat, patches):
            d_out = grad[samples, rows]
            if dx.numel():
                mixed = _mix(flat[:, rows], gates[samples], x.dtype)
                d_patches.baddbmm_(mixed.mT, d_out, beta=0 if rows.start == 0 else 1)
            d_mixed = torch.bmm(d_out, patches.mT)
            _reduce(d_weights[:, rows], d_gates[samples], d_mixed, flat[:, rows], gates[samples])
        if dx.numel() and not in_place:
            _put_patches(dx[samples], d_patches, kernel, geometry)
    return d_weights.view(weights.shape), d_gates


def _backward_samples(
    dx: Tensor, grad: Tensor, x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    order = memory_order(weights)
    rows = in_order(weights, order)
    d_rows, d_gates = torch.zeros_like(rows), torch.zeros_like(gates)
    wanted = dx.numel() > 0
    for part in _parts(len(x), weights[0].nbytes, BLOCK_BYTES):
        mixed = _mix(rows, gates[part], x.dtype)
        for weight, b in zip(out_of_order(mixed, order), range(part.start, part.stop), strict=True):
            one = slice(b, b + 1)
            d_x, d_weight = convolve_backward(
                grad[one], x[one], weight, geometry, input_grad=wanted
            )
            if wanted:
                dx[one] = d_x
            weight.copy_(d_weight)  # no longer needed: its gradient takes its place
        _reduce(d_rows, d_gates[part], mixed, rows, gates[part])
    return out_of_order(d_rows, order), d_gates


def _mix(weights: Tensor, gates: Tensor, dtype: torch.dtype) -> Tensor:
    mixed = gates @ weights.reshape(len(weights), -1)
    return mixed.to(dtype).view(len(gates), *weights.shape[1:])


def _reduce(
    d_weights: Tensor, d_gates: Tensor, d_mixed: Tensor, weights: Tensor, gates: Tensor
) -> None:
    """Adds what the gradient of a block of mixed weights gives to those of weights and gates."""
    models = len(weights)
    d_mixed = d_mixed.flatten(1).to(gates.dtype)
    d_gates.addmm_(d_mixed, weights.reshape(models, -1).T)
    d_weights.view(models, -1).addmm_(gates.T, d_mixed)


def _parts(count: int, each: int, limit: int) -> Iterator[slice]:
    """Slices of `count` things of `each` bytes: up to `limit` bytes per slice, or one thing."""
    step = max(1, limit // max(each, 1))
    return (slice(i, min(i + step, count)) for i in range(0, count, step))


def _patch_parts(x: Tensor, flat: Tensor, out: Tensor) -> Iterator[slice]:
    if flat.shape[2] == x.shape[1]:
        return iter([slice(0, len(x))])  # pixels: no copies, so all samples at once
    return _parts(len(x), flat.shape[2] * out.shape[2] * x.itemsize, PATCH_BYTES)


def _row_parts(flat: Tensor, patches: Tensor) -> Iterator[slice]:
    """Blocks of output channels; one block in half precision, which must not hold partial sums."""
    whole = patches.dtype in (torch.float16, torch.bfloat16)
    limit = flat.nbytes * len(patches) if whole else BLOCK_BYTES
    return _parts(flat.shape[1], len(patches) * flat.shape[2] * flat.itemsize, limit)


def _patches(x: Tensor, kernel: tuple[int, ...], geometry: Geometry) -> Tensor:
    """The inputs of each output pixel, `(B, I * kernel, pixels)`."""
    if pointwise(kernel, geometry):
        return pixels(x[_strided(geometry)])
    stride, padding, dilation, _ = geometry
    return unfold(x, kernel, dilation, padding, stride)


def _put_patches(
    dx: Tensor, d_patches: Tensor, kernel: tuple[int, ...], geometry: Geometry
) -> None:
    """Adds each patch to `dx` where it was taken from."""
    if pointwise(kernel, geometry):
        strided = dx.zero_()[_strided(geometry)]
        strided.copy_(d_patches.view(strided.shape))
    else:
        stride, padding, dilation, _ = geometry
        dx.copy_(fold(d_patches, dx.shape[2:], kernel, dilation, padding, stride))


def _strided(geometry: Geometry) -> tuple:
    return (..., *(slice(None, None, s) for s in geometry.stride))
