import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from hubfast import ops
from hubfast.ops.linalg.bases import DenseBasis
from hubfast.ops.linalg.lapack import TridiagonalBasis

BACKENDS = ["torch", "scipy"]


def symmetric(width, rank=None):
    rows = torch.randn(rank or width + 3, width, dtype=torch.float64)
    return rows.T @ rows


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("width", "columns"), [(1, 1), (2, 3), (7, 1), (64, 5), (65, 0)])
def test_decomposes(width, columns, backend):
    gram, rhs = symmetric(width), torch.randn(width, columns, dtype=torch.float64)
    found = ops.spectrum(gram, rhs, backend=backend)
    vectors = found.basis.expand(torch.eye(width, dtype=torch.float64))
    assert_close(vectors.T @ vectors, torch.eye(width, dtype=torch.float64))
    assert_close(vectors * found.eigenvalues @ vectors.T, gram)
    assert_close(found.projections, vectors.T @ rhs)
    assert_close(found.basis.project(rhs.T), found.projections.T)
    assert bool((found.eigenvalues.diff() >= 0).all())


@pytest.mark.parametrize("backend", BACKENDS)
def test_by_hand(backend):
    gram = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    found = ops.spectrum(gram, torch.ones(2, 1, dtype=torch.float64), backend=backend)
    assert_close(found.eigenvalues, torch.tensor([1.0, 3.0], dtype=torch.float64))
    expected = torch.tensor([[0.0], [2.0**0.5]], dtype=torch.float64)
    assert_close(found.projections.abs(), expected)


@pytest.mark.parametrize("width", [1, 4])
def test_the_backend_decides_the_basis(width, monkeypatch):
    gram, rhs = symmetric(width), torch.ones(width, 1, dtype=torch.float64)
    assert isinstance(ops.spectrum(gram, rhs).basis, TridiagonalBasis)
    assert isinstance(ops.spectrum(gram, rhs, backend="torch").basis, DenseBasis)
    monkeypatch.setenv("HUBFAST_BACKEND", "torch")
    assert isinstance(ops.spectrum(gram, rhs).basis, DenseBasis)


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_upper_triangle_is_read(backend):
    gram, rhs = symmetric(9), torch.randn(9, 2, dtype=torch.float64)
    spoiled = gram.triu() + torch.full_like(gram, float("nan")).tril(-1)
    a = ops.spectrum(gram, rhs, backend=backend)
    b = ops.spectrum(spoiled, rhs, backend=backend)
    assert_close(a.eigenvalues, b.eigenvalues)
    assert_close(a.projections, b.projections)


@pytest.mark.parametrize("backend", BACKENDS)
def test_input_is_left_alone(backend):
    gram, rhs = symmetric(8), torch.randn(8, 2, dtype=torch.float64)
    before = gram.clone(), rhs.clone()
    ops.spectrum(gram, rhs, backend=backend)
    assert torch.equal(gram, before[0])
    assert torch.equal(rhs, before[1])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("matrix", ["zero", "identity", "rank one", "diagonal"])
def test_degenerate(matrix, backend):
    width = 6
    gram = {
        "zero": torch.zeros(width, width),
        "identity": torch.eye(width),
        "rank one": torch.ones(width, width),
        "diagonal": torch.arange(6.0).diag(),
    }[matrix].double()
    found = ops.spectrum(gram, torch.eye(width, dtype=torch.float64), backend=backend)
    assert_close(found.eigenvalues, torch.linalg.eigvalsh(gram), atol=1e-13, rtol=0)
    rebuilt = found.projections.T * found.eigenvalues @ found.projections
    assert_close(rebuilt, gram, atol=1e-13, rtol=0)


@given(width=st.integers(1, 40), columns=st.integers(1, 4), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_backends_agree(width, columns, seed):
    torch.manual_seed(seed)
    gram, rhs = symmetric(width), torch.randn(width, columns, dtype=torch.float64)
    a = ops.spectrum(gram, rhs, backend="torch")
    b = ops.spectrum(gram, rhs, backend="scipy")
    scale = float(a.eigenvalues[-1])
    assert_close(a.eigenvalues / scale, b.eigenvalues / scale, atol=1e-13, rtol=0)
    # Energies by function of the eigenvalue do not depend on the basis within an eigenspace.
    for t in (1e-3 * scale, scale):
        energies = [(s.projections.square() / (s.eigenvalues[:, None] + t)).sum(0) for s in (a, b)]
        assert_close(*energies, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("count", "width"), [(1, 1), (5, 3), (3, 5), (100, 33)])
def test_add_gram(count, width, backend):
    rows = torch.randn(count, width, dtype=torch.float64)
    gram = torch.ones(width, width, dtype=torch.float64)
    ops.add_gram(gram, rows, backend=backend)
    ops.add_gram(gram, rows[:, :], backend=backend)
    assert_close(gram.triu(), (1 + 2 * rows.T @ rows).triu())


def test_add_gram_takes_transposed_rows():
    rows = torch.randn(4, 9, dtype=torch.float64).T
    gram = torch.zeros(4, 4, dtype=torch.float64)
    ops.add_gram(gram, rows)
    assert_close(gram.triu(), (rows.T @ rows).triu())


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"gram must have shape \(3, 3\), got \(2, 3\)"):
        ops.spectrum(torch.zeros(2, 3).double(), torch.zeros(3, 1).double())
    with pytest.raises(ValueError, match=r"rhs must have shape \(3, any\), got \(2, 1\)"):
        ops.spectrum(torch.zeros(3, 3).double(), torch.zeros(2, 1).double())
    with pytest.raises(TypeError, match=r"rows must be float64"):
        ops.add_gram(torch.zeros(3, 3).double(), torch.zeros(2, 3))


def test_many_at_once():
    grams = [symmetric(width) for width in (5, 1, 33, 12)]
    rhs = [torch.randn(len(gram), 3, dtype=torch.float64) for gram in grams]
    for gram, columns, found in zip(grams, rhs, ops.spectrum_batch(grams, rhs), strict=True):
        alone = ops.spectrum(gram, columns)
        assert torch.equal(found.eigenvalues, alone.eigenvalues)
        assert torch.equal(found.projections, alone.projections)


def test_the_bad_one_of_many_is_named():
    grams = [symmetric(4), symmetric(5).float(), symmetric(3)]
    rhs = [torch.zeros(len(gram), 1, dtype=torch.float64) for gram in grams]
    with pytest.raises(TypeError, match="matrix 1: gram must be float64"):
        ops.spectrum_batch(grams, rhs)
    with pytest.raises(ValueError, match="rhs must be as many as grams, 3, got 2"):
        ops.spectrum_batch(grams, rhs[:2])
