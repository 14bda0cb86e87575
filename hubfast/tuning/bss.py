"""Batch spectral shrinkage: the smallest singular values of a batch of features.

Chen, Wang, Fu, Long, Wang: "Catastrophic Forgetting Meets Negative Transfer", NeurIPS 2019.
"""

import torch
from torch import Tensor, nn

from hubfast.tuning.objective import Seen


def bss(features: Tensor, k: int = 1) -> Tensor:
    """Sum of the k smallest squared singular values of `features`; a scalar, float32 or wider.

    They are the smallest eigenvalues of the smaller Gram matrix, taken in float64. The gradient
    of an eigenvalue is `2 u u' F`: no differences of singular values are divided by, so it is
    finite for rank-deficient batches, where that of an SVD is not.

    Args:
        features: `(B, D)`, any float type, autocast or not.
        k: How many, of min(B, D).

    Raises:
        ValueError: k is not in 1..min(B, D), or features are not 2-D.
    """
    if features.ndim != 2 or not 1 <= k <= min(features.shape):
        raise ValueError(
            f"features must be (B, D) with k in 1..min(B, D), got k={k}, {tuple(features.shape)}"
        )
    kept = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        x = features.double()
        gram = x @ x.T if len(x) <= x.shape[1] else x.T @ x
        smallest = torch.linalg.eigvalsh(gram)[:k]
        return smallest.clamp(min=0).sum().to(kept)


class BSS(nn.Module):
    """The term `weight * bss(features, k)`; published with weight 1e-3 and k = 1."""

    def __init__(self, weight: float = 1e-3, k: int = 1):
        super().__init__()
        self.weight, self.k = weight, k

    def forward(self, seen: Seen) -> Tensor:
        return self.weight * bss(seen.features, min(self.k, *seen.features.shape))
