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


@pytest.mark.parametrize("op", ["spectrum", "tridiagonal_spectrum"])
@pytest.mark.parametrize("width", [1, 7])
def test_spectrum(op, width):
    rows = doubles(20, width)
    opcheck(getattr(torch.ops.hubfast, op), (rows.T @ rows, doubles(width, 3)))


@pytest.mark.parametrize("backend", ["torch", NATIVE])
def test_evidence(backend):
    opcheck(torch.ops.hubfast.evidence, (doubles(9), doubles(9, 4), doubles(4), 30, backend))


@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (3, 2, 4, 4), (1, 6, 2)])
def test_svd(shape):
    opcheck(torch.ops.hubfast.svd, (torch.randn(shape),))


class Energies(torch.nn.Module):
    """Squares of the projections on the eigenvectors, and what the basis makes of them."""

    def __init__(self, backend):
        super().__init__()
        self.backend = backend

    def forward(self, rows, rhs):
        gram = torch.zeros(6, 6, dtype=torch.float64)
        ops.add_gram(gram, rows, backend=self.backend)
        found = ops.spectrum(gram, rhs, backend=self.backend)
        return found.eigenvalues, found.projections.square()


@pytest.mark.parametrize("backend", [None, "torch", "scipy"])
@pytest.mark.parametrize("how", ["compile", "export"])
def test_compiles_whole(backend, how):
    inputs, energies = (doubles(30, 6), doubles(6, 2)), Energies(backend)
    if how == "compile":
        whole = torch.compile(energies, fullgraph=True, backend="aot_eager")
    else:
        whole = torch.export.export(energies, inputs, strict=True).module()
    torch.testing.assert_close(whole(*inputs), energies(*inputs))


def test_the_dense_basis_compiles_whole():
    gram, rhs = torch.eye(6, dtype=torch.float64), doubles(6, 2)

    def back(gram, rhs):
        found = ops.spectrum(gram, rhs, backend="torch")
        return found.basis.expand(found.projections)

    compiled = torch.compile(back, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(gram, rhs), rhs)
