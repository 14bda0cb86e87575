"""A GPU that is not there: Triton compiles for it as it would on it, and nothing runs.

Wrappers may get tensors of the device `"meta"`, which take no memory: sizes are then those of
production. Triton sees in the arguments what it sees on the GPU: that an integer is 1, that 16
divides it or an address.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from machine_code import MachineCode, disassembled, read

CAPABILITIES = (80, 90, 100)
MOST_PROGRAMS = (2**31 - 1, 65_535, 65_535)  # of a grid's three dimensions, by CUDA's guide
REGISTERS = 65_536  # of a multiprocessor


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel: what it takes of a multiprocessor, and its code."""

    call: str  # what was called
    name: str  # the kernel that it launched
    capability: int
    warps: int  # per program
    stages: int  # iterations of a loop whose loads are in flight
    constants: dict[str, Any]  # what it was compiled for, by the argument's name
    registers: int  # per thread
    stack: int  # bytes per thread
    shared: int  # bytes per program
    code: MachineCode


@dataclass(frozen=True)
class Launch:
    """A kernel, how many programs of it were to run, and their tensors."""

    kernel: Kernel
    grid: tuple[int, int, int]
    tensors: list[torch.Tensor]

    @property
    def programs(self) -> int:
        return math.prod(self.grid)


class AbsentGPU:
    """A driver for Triton that compiles, notes what would be launched, and runs nothing.

    Attributes:
        capability: Compute capability of the GPU, such as 90.
        call: Name of the call that is running, for the names of the kernels that it launches.
        kernels: What was compiled so far.
        launches: What was to run so far, in order.
    """

    def __init__(self) -> None:
        self.capability = CAPABILITIES[0]
        self.call = ""
        self.kernels: list[Kernel] = []
        self.launches: list[Launch] = []
        self.utils = self
        self._compiling: tuple[Any, Any] | None = None

    def get_current_device(self) -> int:
        return self.capability  # Triton then keeps the kernels of each capability apart

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)

    def get_device_properties(self, device: int) -> dict[str, int]:
        most = 227 if self.capability >= 90 else 163  # KiB per program, as in CUDA's guide
        return {"max_shared_mem": most * 1024}

    def launcher_cls(self, source, metadata) -> Callable:
        """Gives Triton what launches a kernel; Triton asks for it and then loads the binary."""
        self._compiling = source, metadata
        return self._launch

    def load_binary(
        self, name: str, binary: bytes, shared: int, device: int
    ) -> tuple[int, int, int, int, int]:
        """Notes the kernel; gives Triton a module, a function, registers, spills and threads."""
        source, metadata = self._compiling
        usage = disassembled(binary, "-res-usage")
        registers, stack = map(int, re.search(r"REG:(\d+) STACK:(\d+)", usage).groups())
        names = source.fn.arg_names
        kernel = Kernel(
            call=self.call,
            name=name,
            capability=self.capability,
            warps=metadata.num_warps,
            stages=metadata.num_stages,
            constants={names[p[0]]: v for p, v in source.constants.items() if len(p) == 1},
            registers=registers,
            stack=stack,
            shared=shared,
            code=read(disassembled(binary, "-sass")),
        )
        self.kernels.append(kernel)
        return 1, len(self.kernels) - 1, registers, 0, threads_of(registers)

    def _launch(self, x: int, y: int, z: int, stream: int, function: int, *others: Any) -> None:
        grid = (x, y, z)
        if any(n > most for n, most in zip(grid, MOST_PROGRAMS, strict=True)):
            raise RuntimeError(f"CUDA: invalid argument, a grid of {grid} programs")
        tensors = [one for one in others if isinstance(one, torch.Tensor)]
        self.launches.append(Launch(self.kernels[function], grid, tensors))


def threads_of(registers: int) -> int:
    """The most threads that a program with so many registers per thread may have."""
    warp = 32 * math.ceil(registers / 8) * 8  # the hardware gives them out by eight
    return min(1024, REGISTERS // warp * 32)


def absent_gpu() -> AbsentGPU:
    """A new one, which is Triton's driver from now on."""
    import triton

    gpu = AbsentGPU()
    triton.runtime.driver.set_active(gpu)
    return gpu
