"""Ops of the ranking as torch sees them: schemas, fake kernels, torch.compile."""

import pytest
import torch
from torch.library import opcheck

from hubfast import ops
from hubfast.ops.backends import missing

needs_native = pytest.mark.skipif(missing("native") is not None, reason="no native core")
NATIVE = pytest.param("native", marks=needs_native)


def doubles(*shape):
    return torch.rand(shape, dtype=torch.float64)


@pytest.mark.parametrize("backend", ["torch", "scipy", NATIVE])
def test_add_gram(backend):
    opcheck(torch.ops.hubfast.add_gram, (torch.zeros(7, 7).double(), doubles(20, 7), backend))


@pytest.mark.parametrize("backend", ["torch", "scipy"])
@pytest.mark.parametrize("width", [1, 7])
def test_spectrum(backend, width):
    rows = doubles(20, width)
    opcheck(torch.ops.hubfast.spectrum, (rows.T @ rows, doubles(width, 3), backend))


@pytest.mark.parametrize("backend", ["torch", NATIVE])
def test_evidence(backend):
    opcheck(torch.ops.hubfast.evidence, (doubles(9), doubles(9, 4), doubles(4), 30, backend))


@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (3, 2, 4, 4), (1, 6, 2)])
def test_svd(shape):
    opcheck(torch.ops.hubfast.svd, (torch.randn(shape),))


def test_compiles_whole():
    rows, rhs = doubles(30, 6), doubles(6, 2)

    def eigenvalues(rows, rhs):
        gram = torch.zeros(6, 6, dtype=torch.float64)
        ops.add_gram(gram, rows, backend="scipy")
        return ops.spectrum(gram, rhs, backend="scipy").eigenvalues

    compiled = torch.compile(eigenvalues, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(rows, rhs), eigenvalues(rows, rhs))
