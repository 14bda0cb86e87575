"""The native core on any shape, against dense algebra; `make sanitize` runs this file on a checked
build."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from hubfast.ops import reference
from hubfast.ops.backends import missing
from hubfast.ops.evidence.native import climb
from hubfast.ops.linalg import native

pytestmark = pytest.mark.skipif(missing("native") is not None, reason="no native core")

# The bandwidth is 32 and rows go by fours: below, at, next to and past their multiples.
sizes = st.one_of(st.integers(1, 9), st.sampled_from([31, 32, 33, 34, 63, 64, 65, 66, 97, 130]))
few = st.integers(0, 9)
seeds = st.integers(0, 99)
fuzz = settings(max_examples=40, deadline=None)


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def semidefinite(seed, size, rank):
    rows = normal(seed, rank, size)
    return rows.T @ rows / max(rank, 1)


def dense_band(band):
    """The symmetric matrix whose lower band is given by rows."""
    size, width = len(band), band.shape[1] - 1
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for i in range(size):
        first = max(0, i - width)
        matrix[i, first : i + 1] = band[i, width - (i - first) :]
    return matrix + matrix.tril(-1).T


@fuzz
@given(few, sizes, seeds)
def test_add_gram(count, width, seed):
    rows, gram = normal(seed, count, width), normal(seed + 1, width, width)
    expected = gram + rows.T @ rows
    native.add_gram(gram, rows)
    assert_close(gram.triu(), expected.triu())


@fuzz
@given(few, sizes, seeds, st.sampled_from([torch.bfloat16, torch.float32, torch.float64]))
def test_row_gram(count, width, seed, dtype):
    rows = normal(seed, width, count).T.to(dtype)  # not contiguous
    gram = native.row_gram(rows)
    assert_close(gram, rows.double() @ rows.double().T)
    assert torch.equal(gram, gram.T)


def test_row_gram_is_the_same_on_any_threads():
    rows, before = normal(0, 37, 1001).float(), torch.get_num_threads()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(native.row_gram(rows))
    torch.set_num_threads(before)
    assert torch.equal(*found)


@fuzz
@given(few, sizes, seeds)
def test_add_moments(count, width, seed):
    rows = normal(seed, count, width)
    ours = [normal(1, width), normal(2, width)]
    expected = [x.clone() for x in ours]
    assert_close(native.add_moments(rows, *ours), reference.add_moments(rows, *expected))
    assert_close(ours, expected)


@fuzz
@given(sizes, few, few, seeds)
def test_band_form(size, rank, columns, seed):
    gram, rows = semidefinite(seed, size, rank), normal(seed + 1, columns, size)
    band, reflectors, factors = native.reduce_to_band(gram)
    matrix = dense_band(band)
    assert_close(torch.linalg.eigvalsh(matrix), torch.linalg.eigvalsh(gram), rtol=0, atol=1e-11)
    rotated = native.rotate(reflectors, factors, rows, back=False)
    assert_close(rotated @ matrix @ rotated.T, rows @ gram @ rows.T)
    assert_close(native.rotate(reflectors, factors, rotated, back=True), rows)


@fuzz
@given(sizes, st.integers(1, 9), few, st.integers(1, 9), seeds)
def test_resolvent(size, rank, columns, shifts, seed):
    gram, rows = semidefinite(seed, size, rank), normal(seed + 1, columns, size)
    band, reflectors, factors = native.reduce_to_band(gram)
    rotated = native.rotate(reflectors, factors, rows, back=False)
    t = torch.logspace(-3, 3, shifts, dtype=torch.float64)
    log_det, quadratic_forms = native.quadratic_forms(band, rotated, t)
    eye = torch.eye(size, dtype=torch.float64)
    for i, shift in enumerate(t):
        shifted = gram + shift * eye
        assert_close(log_det[i], torch.logdet(shifted))
        assert_close(quadratic_forms[i], (rows * torch.linalg.solve(shifted, rows.T).T).sum(1))
    own = torch.linspace(0.1, 2.0, columns, dtype=torch.float64)
    solved = native.rotate(reflectors, factors, native.solve(band, rotated, own), back=True)
    for row, shift, found in zip(rows, own, solved, strict=True):
        assert_close(found, torch.linalg.solve(gram + shift * eye, row))


@fuzz
@given(st.integers(1, 40), few, st.integers(1, 60), seeds)
def test_climb(directions, columns, count, seed):
    eigenvalues = normal(seed, directions).exp()
    energy = normal(seed + 1, directions, columns).square() * (1 + eigenvalues[:, None])
    residual, start = normal(seed + 2, columns).square(), normal(seed + 3, columns)
    ours = climb(start, eigenvalues, energy, residual, count)
    expected = reference.climb(start, eigenvalues, energy, residual, count)
    assert_close(ours.value, expected.value)


def test_arrays_that_do_not_fit_are_refused_by_name():
    from hubfast import _native

    gram, rows = np.zeros((3, 3)), np.ones((5, 3))
    with pytest.raises(ValueError, match=r"gram must be \(3, 3\), got \(4, 4\)"):
        _native.add_gram(np.zeros((4, 4)), rows)
    with pytest.raises(ValueError, match=r"rows must be a matrix, got 1 dimensions"):
        _native.add_gram(gram, rows[0].copy())
    for wrong in (rows.astype(np.float32), rows.T.copy().T, rows.tolist()):
        with pytest.raises(TypeError, match=r"gram: .*rows: "):  # the signature that is wanted
            _native.add_gram(gram, wrong)
    gram.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        _native.add_gram(gram, rows)
    band, reflectors, factors = _native.reduce(np.eye(40))
    with pytest.raises(ValueError, match="rows must hold dense rows"):
        _native.rotate(reflectors, factors, False, np.zeros((40, 40))[:, ::-1])
    with pytest.raises(ValueError, match=r"t must be \(2,\), got \(3,\)"):
        _native.solve(band, np.zeros((2, 40)), np.ones(3), 1)


def test_a_convolution_holds_what_it_reads():
    from hubfast import _native

    side = (4, 1, 1, 0, 1)
    weights = np.ones((2, 3, 5, 1), np.float32)
    gates, images = np.ones((6, 2), np.float32), np.ones((6, 5, 16), np.float32)
    conv = _native.MixedConv(y=side, x=side, weights=weights, gates=gates, images=images)
    del weights, gates, images
    y = np.empty((6, 3, 16), np.float32)
    conv.forward(y, 1)
    assert (y == 10).all()
    with pytest.raises(ValueError, match=r"y must be \(6, 3, 16\), got \(6, 3, 4\)"):
        conv.forward(y[..., :4].copy(), 1)
    with pytest.raises(ValueError, match=r"gates must be \(6, 2\), got \(6, 3\)"):
        _native.MixedConv(
            y=side,
            x=side,
            weights=np.ones((2, 3, 5, 1), np.float32),
            gates=np.ones((6, 3), np.float32),
            images=np.ones((6, 5, 16), np.float32),
        )
