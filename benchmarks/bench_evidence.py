"""The evidence search alone, every class at once: the native core against plain torch.

python -m pytest benchmarks/bench_evidence.py
"""

import pytest
import torch

from hubfast import ops

SHAPES = [(1_024, 37), (2_048, 100), (1_024, 1_000)]  # k, C
WHO = {"hubfast": "native", "torch": "torch"}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_evidence(benchmark, shape, who):
    k, classes = shape
    torch.manual_seed(0)
    eigenvalues = (2 * torch.randn(k, dtype=torch.float64)).exp() * 100
    share = 0.01 * torch.rand(k, classes, dtype=torch.float64)
    energy = share * eigenvalues[:, None] / eigenvalues.max()
    residual = torch.full((classes,), 10.0, dtype=torch.float64)
    benchmark.group = f"evidence k={k} C={classes}"
    arguments = (eigenvalues, energy, residual, 4_000)
    options = {"backend": WHO[who]}
    benchmark.pedantic(ops.evidence, arguments, options, rounds=7, warmup_rounds=1)
