"""Triton kernels: in the interpreter where there is no GPU, and compiled for three of them."""

import pytest
import torch
from compiled_kernels import compiled
from torch.testing import assert_close

from hubfast import ops
from hubfast.ops import reference

pytest.importorskip("triton", reason="triton is not installed")


def spectral_input(k, columns, count, device):
    eigenvalues = (torch.randn(k, dtype=torch.float64) * 2).exp()
    energy = torch.rand(k, columns, dtype=torch.float64) * (1 + eigenvalues[:, None])
    residual = torch.rand(columns, dtype=torch.float64) + 0.1
    return eigenvalues.to(device), energy.to(device), residual.to(device), count


# one direction, no power of two, exactly one block, one past a block
@pytest.mark.parametrize("shape", [(1, 1, 2), (65, 5, 100), (1024, 2, 3000), (1025, 2, 3000)])
def test_climb_equals_reference(shape, device):
    from hubfast.kernels.evidence import climb

    args = spectral_input(*shape, device)
    expected = reference.evidence(*args)
    for a, b in zip(reference.evidence(*args, climb), expected, strict=True):
        assert_close(a, b, rtol=1e-12, atol=0)


def test_climb_is_deterministic(device):
    from hubfast.kernels.evidence import climb

    args = spectral_input(300, 4, 900, device)
    first, second = reference.evidence(*args, climb), reference.evidence(*args, climb)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_takes_triton():
    args = spectral_input(65, 5, 100, "cuda")
    assert_close(ops.evidence(*args).value, reference.evidence(*args).value)


def test_compiles_without_a_gpu(tmp_path):
    kernels = compiled(tmp_path, "evidence", capabilities=(80, 90, 100))
    assert [kernel["capability"] for kernel in kernels] == [80, 90, 100]
    for kernel in kernels:
        assert kernel["registers"] > 0, kernel
        assert kernel["shared"] <= 48 * 1024, kernel
