"""Smallest singular values of a batch of features, differentiable."""

from contextlib import nullcontext

import torch
from scipy.linalg import lapack
from torch import Tensor
from torch.library import custom_op

from hubfast import reference
from hubfast.backend import choose
from hubfast.functional.arguments import on_device
from hubfast.threads import one_blas_thread

MANY = 64  # rows from which LAPACK would run on several threads


def bss(features: Tensor, k: int = 1, *, backend: str | None = None) -> Tensor:
    """Sum of the k smallest squared singular values of `features`; a scalar, float32 or wider.

    Batch spectral shrinkage: Chen, Wang, Fu, Long, Wang, "Catastrophic Forgetting Meets Negative
    Transfer", NeurIPS 2019. They are eigenvalues of the smaller Gram matrix, taken in float64.
    The gradient of an eigenvalue is `2 u u' F`: no differences of singular values are divided by,
    so it is finite for rank-deficient batches.

    Args:
        features: `(B, D)`, any float type, autocast or not.
        k: How many, of min(B, D).
        backend: `"scipy"` (CPU: computes these k eigenpairs only), `"torch"`, or None.

    Raises:
        ValueError: k is not in 1..min(B, D), or features are not 2-D.
    """
    if features.ndim != 2 or not 1 <= k <= min(features.shape):
        raise ValueError(
            f"features must be (B, D) with k in 1..min(B, D), got k={k}, {tuple(features.shape)}"
        )
    value, _ = bss_op(features, k, backend)
    return value.to(torch.promote_types(features.dtype, torch.float32))


@custom_op("hubfast::bss", mutates_args=())
def bss_op(features: Tensor, k: int, backend: str | None) -> tuple[Tensor, Tensor]:
    """As `reference.bss`."""
    chosen = choose(backend, *on_device(features, cpu=("scipy",)))
    if features.device.type == "cpu" and not bool(features.sum().isfinite()):
        # LAPACK would raise, or give zeros; a NaN loss is noticed where it is summed up.
        nan = torch.full((min(features.shape), k), torch.nan, dtype=torch.float64)
        return nan[0, 0].clone(), nan
    if chosen == "torch":
        return reference.bss(features, k)
    gram = reference.smaller_gram(features).numpy()
    with one_blas_thread() if len(gram) >= MANY else nullcontext():
        values, vectors, _, _, info = lapack.dsyevr(gram, range="I", il=1, iu=k, lower=1)
    if info:
        raise RuntimeError(f"LAPACK's dsyevr failed with {info}")
    found = torch.from_numpy(values[:k]).clamp(min=0).sum()
    return found, torch.from_numpy(vectors[:, :k].copy())


@bss_op.register_fake
def _(features: Tensor, k: int, backend: str | None) -> tuple[Tensor, Tensor]:
    vectors = features.new_empty((min(features.shape), k), dtype=torch.float64)
    return vectors.new_empty(()), vectors


def _save(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(inputs[0], output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(
    ctx: torch.autograd.function.FunctionCtx, grad: Tensor, _: Tensor
) -> tuple[Tensor, None, None]:
    features, vectors = ctx.saved_tensors  # type: ignore[attr-defined]
    kept = torch.promote_types(features.dtype, torch.float32)
    x, u = features.to(kept), vectors.to(kept)
    u_scaled = u * (2 * grad.to(kept))
    found = u_scaled @ (u.T @ x) if len(x) <= x.shape[1] else (x @ u) @ u_scaled.T
    return found.to(features.dtype), None, None


bss_op.register_autograd(_backward, setup_context=_save)
