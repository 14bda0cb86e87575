"""Smallest singular values of a batch of features, differentiable."""

import math
from contextlib import nullcontext
from typing import Any

import torch
from scipy.linalg import lapack
from torch import Tensor

from hubfast.ops.backends import choose, on_device
from hubfast.ops.bss import reference
from hubfast.ops.linalg import native
from hubfast.ops.registration import register
from hubfast.utils.threads import one_blas_thread

MANY = 64  # rows from which LAPACK would run on several threads


def bss(features: Tensor, k: int = 1, *, backend: str | None = None) -> Tensor:
    """Sum of the k smallest squared singular values of `features`; a scalar, float32 or wider.

    Batch spectral shrinkage: Chen, Wang, Fu, Long, Wang, "Catastrophic Forgetting Meets Negative
    Transfer", NeurIPS 2019. They are eigenvalues of the smaller Gram matrix, taken in float64.
    The gradient of an eigenvalue is `2 u u' F`: no differences of singular values are divided by,
    so it is finite for rank-deficient batches. A second derivative raises a RuntimeError.

    Args:
        features: `(B, D)`, any float type, autocast or not.
        k: How many singular values, of min(B, D).
        backend: `"scipy"` (CPU: computes these k eigenpairs only), `"native"` (CPU: that, from a
            Gram matrix at half the flops), `"torch"`, or None.

    Raises:
        ValueError: k is not in 1..min(B, D), or features are not 2-D.
    """
    if features.ndim != 2 or not 1 <= k <= min(features.shape):
        raise ValueError(
            f"features must be (B, D) with k in 1..min(B, D), got k={k}, {tuple(features.shape)}"
        )
    value, _ = _bss_op(features, k, backend)
    return value.to(torch.promote_types(features.dtype, torch.float32))


def _fake_bss(features: Tensor, k: int, backend: str | None) -> tuple[Tensor, Tensor]:
    vectors = features.new_empty((min(features.shape), k), dtype=torch.float64)
    return vectors.new_empty(()), vectors


def _setup_bss(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(inputs[0], output[1])
    ctx.mark_non_differentiable(output[1])


def _grad_bss(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
    features, vectors = ctx.saved_tensors
    return _bss_backward_op(grad, features, vectors), None, None


@register("bss", fake=_fake_bss, setup=_setup_bss, backward=_grad_bss)
def _bss_op(features: Tensor, k: int, backend: str | None) -> tuple[Tensor, Tensor]:
    return _smallest(features, k, backend)


def _fake_bss_backward(grad: Tensor, features: Tensor, vectors: Tensor) -> Tensor:
    return features.new_empty(features.shape)


@register("bss_backward", fake=_fake_bss_backward)
def _bss_backward_op(grad: Tensor, features: Tensor, vectors: Tensor) -> Tensor:
    return _gradient(features, vectors, grad).contiguous()


def _smallest(features: Tensor, k: int, backend: str | None) -> tuple[Tensor, Tensor]:
    """`reference.bss` by the chosen backend."""
    chosen = choose(backend, *on_device(features, cpu=("native", "scipy")))
    if features.device.type != "cpu":
        return reference.bss(features, k)
    if chosen == "native":
        gram = native.row_gram(features if len(features) <= features.shape[1] else features.T)
    else:
        gram = reference.smaller_gram(features)
    if not math.isfinite(gram.trace().item()):
        # LAPACK would raise, or give zeros; a NaN loss is noticed where it is summed up.
        nan = gram.new_full((len(gram), k), torch.nan)
        return nan[0, 0].clone(), nan
    if chosen == "torch":
        return reference.smallest(gram, k)
    with one_blas_thread() if len(gram) >= MANY else nullcontext():
        values, vectors, _, _, info = lapack.dsyevr(gram.numpy(), range="I", il=1, iu=k, lower=1)
    if info:
        raise RuntimeError(f"LAPACK's dsyevr failed with {info}")
    total = torch.from_numpy(values[:k]).clamp(min=0).sum()
    return total, torch.from_numpy(vectors[:, :k].copy())


def _gradient(features: Tensor, vectors: Tensor, grad: Tensor) -> Tensor:
    """`2 grad u u' F` for the unit vectors u, without the smaller Gram matrix."""
    kept = torch.promote_types(features.dtype, torch.float32)
    x, u = features.to(kept), vectors.to(kept)
    u_scaled = u * (2 * grad.to(kept))
    if len(x) > x.shape[1]:
        gradient = (x @ u) @ u_scaled.T
    else:  # one outer product is a product by entries
        gradient = u_scaled * (u.T @ x) if u.shape[1] == 1 else u_scaled @ (u.T @ x)
    return gradient.to(features.dtype)
