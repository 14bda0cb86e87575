"""Triton kernels: in the interpreter where there is no GPU, and compiled for three of them."""

import pytest
import torch
from torch.testing import assert_close

from hubfast import ops
from hubfast.ops import reference

triton = pytest.importorskip("triton", reason="triton is not installed")


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


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from hubfast.kernels import evidence

names = ["eigenvalues", "energy", "residual", "log_t", "value", "quadratic"]
signature = {f"{name}_ptr": "*fp64" for name in names} | {"failed_ptr": "*i32", "k": "i32"}
constants = {"STEPS": 60, "TOLERANCE": 1e-8, "GRID": 0.5, "BLOCK": 1024}
signature |= {"count": "i32"} | dict.fromkeys(constants, "constexpr")
source = ASTSource(fn=evidence._climb, signature=signature, constexprs=constants)
binary = triton.compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32))
print(len(binary.asm["cubin"]), binary.metadata.shared)
"""


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_compiles_without_a_gpu(capability, tmp_path):
    """In a process of its own: this one may run the interpreter."""
    import os
    import subprocess
    import sys

    if not triton.backends.backends:
        pytest.skip("this triton has no compiler")
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(capability)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    size, shared = map(int, done.stdout.split())
    assert size > 0
    assert shared <= 48 * 1024
