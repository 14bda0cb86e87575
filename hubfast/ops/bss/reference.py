"""Smallest squared singular values: the eigenvalues of the smaller Gram matrix, in float64."""

import torch
from torch import Tensor


def smaller_gram(features: Tensor) -> Tensor:
    """F F' `(B, B)`, or F' F `(D, D)` where that is smaller, float64."""
    x = features.double()
    return x @ x.T if len(x) <= x.shape[1] else x.T @ x


def bss(features: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Sum of the k smallest squared singular values, and the unit vectors that belong to them.

    Args:
        features: `(B, D)`.
        k: In 1..min(B, D).

    Returns:
        A scalar float64, and `(min(B, D), k)` float64: left singular vectors for B <= D, else
        right ones.
    """
    return smallest(smaller_gram(features), k)


def smallest(gram: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Sum of the k smallest eigenvalues of a Gram matrix, and their vectors."""
    values, vectors = torch.linalg.eigh(gram)
    return values[:k].clamp(min=0).sum(), vectors[:, :k].contiguous()
