import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from hubfast.ops import truncated_svd


def low_rank(shape, rank, dtype=torch.float64):
    *batch, n, width = shape
    left = torch.randn(*batch, n, rank, dtype=dtype)
    return left @ torch.randn(*batch, rank, width, dtype=dtype)


@pytest.mark.parametrize(
    "shape", [(6, 4), (4, 6), (1, 1), (3, 5, 2), (2, 3, 4, 7), (9, 1)], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_torchs_thin_svd(shape, dtype):
    matrices = torch.randn(shape, dtype=dtype)
    u, s, vh = truncated_svd(matrices)
    expected = torch.linalg.svd(matrices, full_matrices=False)
    assert [x.shape for x in (u, s, vh)] == [x.shape for x in expected]
    assert {x.dtype for x in (u, s, vh)} == {dtype}
    assert_close(s, expected.S)
    assert_close(u * s[..., None, :] @ vh, matrices)


def test_by_hand():
    u, s, vh = truncated_svd(torch.tensor([[3.0, 0.0], [0.0, -5.0], [0.0, 0.0]]), rank=1)
    assert_close(s, torch.tensor([5.0]))
    assert_close(u * s @ vh, torch.tensor([[0.0, 0.0], [0.0, -5.0], [0.0, 0.0]]))


@given(
    st.integers(1, 3), st.integers(1, 24), st.integers(1, 24), st.integers(1, 30), st.integers(0, 9)
)
@settings(max_examples=60, deadline=None)
def test_rank_gives_the_best_approximation(batch, n, width, rank, seed):
    torch.manual_seed(seed)
    matrices = torch.randn(batch, n, width, dtype=torch.float64)
    u, s, vh = truncated_svd(matrices, rank=rank)
    k = min(n, width, rank)
    assert s.shape == (batch, k)
    error = (matrices - u * s[:, None] @ vh).square().sum((1, 2))
    left_out = torch.linalg.svdvals(matrices)[:, k:].square().sum(1)
    assert_close(error, left_out, rtol=1e-9, atol=1e-9)  # Eckart and Young
    assert_close(u.mT @ u, torch.eye(k, dtype=torch.float64).expand(batch, k, k))


def test_tol_finds_the_rank():
    u, s, vh = truncated_svd(low_rank((40, 30), 7), tol=1e-10)
    assert s.shape == (7,)
    assert (u.shape, vh.shape) == ((40, 7), (7, 30))
    assert truncated_svd(torch.zeros(4, 3), tol=0.0)[1].shape == (0,)


def test_tol_in_a_batch_cuts_each_matrix():
    matrices = torch.stack([low_rank((12, 9), 2), low_rank((12, 9), 5)])
    u, s, vh = truncated_svd(matrices, tol=1e-10)
    assert s.shape == (2, 5)
    assert (s > 0).sum(1).tolist() == [2, 5]
    assert_close(u * s[:, None] @ vh, matrices)


def test_differentiable():
    matrices = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: truncated_svd(x, rank=2)[1], (matrices,))


def test_empty():
    assert [x.shape for x in truncated_svd(torch.zeros(0, 3))] == [(0, 0), (0,), (0, 3)]
    assert truncated_svd(torch.zeros(0, 4, 3))[1].shape == (0, 3)


@pytest.mark.parametrize(
    ("matrices", "options", "error", "message"),
    [
        (torch.zeros(3, 3).half(), {}, TypeError, "float32 or float64, got torch.float16"),
        (torch.zeros(3), {}, ValueError, r"matrices must be \(..., n, D\), got \(3,\)"),
        (torch.zeros(3, 3), {"rank": 0}, ValueError, "rank must be at least 1, got 0"),
        (torch.zeros(3, 3), {"tol": 1.0}, ValueError, r"tol must be in \[0, 1\), got 1.0"),
        (torch.full((2, 2), float("nan")), {}, ValueError, "must be finite, got NaN or inf"),
    ],
)
def test_bad_input(matrices, options, error, message):
    with pytest.raises(error, match=message):
        truncated_svd(matrices, **options)
