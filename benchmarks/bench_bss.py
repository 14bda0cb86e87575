"""Batch spectral shrinkage, forward and backward: hubfast against the form by an SVD.

python -m pytest benchmarks/bench_bss.py

The public form takes all singular values by a differentiable SVD of the batch; hubfast takes the
eigenvalues of the Gram matrix. `products` is what that costs torch in float32, without eigenvalues:
the Gram matrix and the product that carries its gradient back. hubfast computes half of the former.
"""

import pytest
import torch
from torch import Tensor

from hubfast.tuning import bss

SHAPES = [(48, 2048), (32, 512), (128, 2048)]  # batch, width


def by_svd(features: Tensor, k: int = 1) -> Tensor:
    _, values, _ = torch.linalg.svd(features.T, full_matrices=False)
    return values[-k:].square().sum()


def by_svdvals(features: Tensor, k: int = 1) -> Tensor:
    return torch.linalg.svdvals(features)[-k:].square().sum()


def products(features: Tensor) -> Tensor:
    return (features @ features.T).sum()


WHO = {"hubfast": bss, "svd": by_svd, "svdvals": by_svdvals, "products": products}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bss(benchmark, shape, who):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)).relu()
    features.requires_grad_()

    def step() -> None:
        features.grad = None
        WHO[who](features).backward()

    benchmark.group = f"bss batch={shape[0]} D={shape[1]}"
    benchmark.pedantic(step, rounds=30, iterations=3, warmup_rounds=3)
