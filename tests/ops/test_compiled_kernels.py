"""The Triton kernels as Triton compiles them for production's arguments, without a GPU.

What is asserted holds for Triton 3.6 and 3.8.
"""

from pathlib import Path
from typing import Any

import pytest
from compiled_kernels import compiled, without_interpreter

ZOO = {"_aggregate", "_aggregate_backward", "_convolve", "_weight_gradient"}
ROUTING = {"_route_fwd", "_route_bwd", "_dispatch_fwd", "_dispatch_bwd"}
ROUTING |= {"_combine_fwd", "_combine_bwd"}
CONVOLUTIONS = ("_convolve", "_weight_gradient")
UNITS = {80: ["mma"], 90: ["wgmma"], 100: ["tcgen05"]}
Kernels = list[dict[str, Any]]


@pytest.fixture(scope="module")
def main_layer(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """Of one 3x3 layer, and of Hub-Pathway, for three GPUs."""
    return compiled(tmp_path_factory.mktemp("main"), "zoo", "routing", capabilities=(80, 90, 100))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """Of other layers, dtypes and memory orders, and of sizes that 16 does not divide or of one."""
    parts = ("layers", "odd", "ones")
    return compiled(tmp_path_factory.mktemp("others"), *parts, capabilities=(90,))


@pytest.fixture
def every(main_layer: Kernels, others: Kernels) -> Kernels:
    return main_layer + others


def test_every_kernel_compiles(main_layer):
    for capability in UNITS:
        names = {kernel["name"] for kernel in main_layer if kernel["capability"] == capability}
        assert names == ZOO | ROUTING


def test_sizes_of_one_compile(others):
    """Triton compiles an integer argument of 1 as a constant, which has no methods of a tensor."""
    ones = [kernel for kernel in others if "at 1," in kernel["call"] or kernel["name"] in ROUTING]
    assert {kernel["name"] for kernel in ones} == ZOO | ROUTING


def test_no_register_is_spilled(every):
    for kernel in every:
        assert kernel["code"]["spills"] == 0, kernel
        assert kernel["stack"] <= 8, kernel  # A frame that ptxas keeps though nothing lies in it.
        assert 0 < kernel["registers"] <= 255, kernel


def test_shared_memory_leaves_room_for_two_programs(every):
    """A program that has more than half of the registers needs no room for another."""
    for kernel in every:
        most = 163 if kernel["capability"] == 80 else 227  # KiB of a multiprocessor
        alone = kernel["name"] == "_weight_gradient" and kernel["registers"] > 128
        assert kernel["shared"] + 1024 <= most * 1024 // (1 if alone else 2), kernel


def test_convolutions_load_16_bytes(every):
    """In bfloat16 with channels side by side; Triton sees what 16 divides in the tuples."""
    for kernel in every:
        if kernel["name"] in CONVOLUTIONS and kernel["call"].endswith(", bfloat16"):
            assert set(kernel["code"]["loads"]) == {"16"}, kernel
            assert copies(kernel) > 0, kernel


def copies(kernel: dict[str, Any]) -> int:
    """Loads from global to shared memory in the kernel's loops, which do not wait."""
    return sum(loop["copies"] for loop in kernel["code"]["loops"])


def test_convolutions_multiply_as_the_gpu_does_best(main_layer):
    for kernel in main_layer:
        if kernel["name"] in CONVOLUTIONS:
            assert kernel["code"]["units"] == UNITS[kernel["capability"]], kernel


def test_weights_of_a_mix_are_loaded_by_16_bytes(main_layer):
    for kernel in main_layer:
        if kernel["name"] == "_aggregate":
            assert kernel["code"]["loads"]["16"] >= kernel["constants"]["MODELS"], kernel


REFUSED = """
import torch, triton
import triton.language as tl
from absent_gpu import absent_gpu

@triton.jit
def fill(y_ptr):
    tl.store(y_ptr + tl.program_id(0), 1.0)

gpu, y = absent_gpu(), torch.empty(1, device="meta")
fill[(2**31 - 1, 65_535, 65_535)](y)
for grid in ((2**31,), (1, 65_536), (1, 1, 65_536)):
    try:
        fill[grid](y)
    except RuntimeError as error:
        print(error)
print(len(gpu.launches), len(gpu.kernels))
"""


def test_a_grid_that_no_gpu_takes_is_refused(tmp_path: Path):
    script = tmp_path / "refused.py"
    script.write_text(REFUSED)
    *errors, counts = without_interpreter(tmp_path, script).splitlines()
    assert errors == [
        "CUDA: invalid argument, a grid of (2147483648, 1, 1) programs",
        "CUDA: invalid argument, a grid of (1, 65536, 1) programs",
        "CUDA: invalid argument, a grid of (1, 1, 65536) programs",
    ]
    assert counts == "1 1"
