"""Eigenvalues of a Gram matrix and projections on its eigenvectors, one thread.

python -m pytest benchmarks/bench_spectrum.py

Against `torch.linalg.eigh` of the same matrix and the product with its eigenvectors. The band form
is what LogME uses on a CPU: it gives the resolvent for every t instead of eigenvalues.
"""

import pytest
import torch
from threadpoolctl import threadpool_limits

from hubfast import ops
from hubfast.ops.linalg.band import BandForm
from hubfast.utils.threads import one_torch_thread

COLUMNS = 100


def hubfast(gram, rhs):
    return ops.spectrum(gram, rhs).eigenvalues


def band_form(gram, rhs):
    return BandForm.reduce(gram).rotate(rhs.T)


def torch_eigh(gram, rhs):
    eigenvalues, vectors = torch.linalg.eigh(gram)
    return eigenvalues, vectors.T @ rhs


WHO = {"hubfast": hubfast, "band form": band_form, "torch.linalg.eigh": torch_eigh}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("width", [512, 1_024, 2_048])
def test_spectrum(benchmark, width, who):
    torch.manual_seed(0)
    rows = torch.randn(2 * width, width, dtype=torch.float64)
    gram, rhs = rows.T @ rows, torch.randn(width, COLUMNS, dtype=torch.float64)
    benchmark.group = f"spectrum D={width} C={COLUMNS}, one thread"
    with threadpool_limits(1), one_torch_thread():
        benchmark.pedantic(WHO[who], (gram, rhs), rounds=5, warmup_rounds=1)
