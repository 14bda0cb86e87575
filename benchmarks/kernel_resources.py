"""Registers, stack, shared memory and loads of the Triton kernels, compiled without a GPU.

python benchmarks/kernel_resources.py [--parts zoo routing ones] [--sm 80 90 100] [--json]

hubfast's own functions launch the kernels, on CPU tensors and for a GPU that is not there. Triton
compiles what it would compile on that GPU, with all that it sees in the arguments (that an integer
is 1, that 16 divides a stride or an address), and nothing runs. The assembler and the disassembler
are those that come with Triton. Shapes are those of a ResNet-50 with five models and a batch of 48
in bfloat16; the part `ones` has sizes of one wherever the kernels allow them.
"""

import argparse
import json
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

CAPABILITIES = (80, 90, 100)
BATCH, MODELS, ACTIVE = 48, 5, 2


@dataclass(frozen=True)
class Resources:
    """What a compiled kernel takes of a multiprocessor, and how it reads global memory."""

    name: str  # what was called, and the kernel that it launched
    capability: int
    registers: int  # per thread
    stack: int  # bytes per thread; spilled registers lie here
    shared: int  # bytes per program
    loads: dict[int, int]  # load instructions in the code by bytes per thread


class AbsentGPU:
    """A driver for Triton: compiles for a GPU that is not there, and launches nothing.

    Attributes:
        capability: Compute capability of the GPU, such as 90.
        call: Name of the call that is running, for the names of the kernels that it launches.
        compiled: What was compiled so far.
    """

    def __init__(self) -> None:
        self.capability = CAPABILITIES[0]
        self.call = ""
        self.compiled: list[Resources] = []
        self.utils = self

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

    def load_binary(
        self, name: str, binary: bytes, shared: int, device: int
    ) -> tuple[int, int, int, int, int]:
        """Notes the kernel; gives Triton a module, a function, registers, spills and threads."""
        usage, code = disassembled(binary, "-res-usage"), disassembled(binary, "-sass")
        registers, stack = map(int, re.search(r"REG:(\d+) STACK:(\d+)", usage).groups())
        called = f"{self.call}: {name}"
        self.compiled.append(
            Resources(called, self.capability, registers, stack, shared, loads_of(code))
        )
        return 1, 1, registers, 0, 1024

    def launcher_cls(self, source, metadata) -> Callable:
        return lambda *launch: None


def loads_of(code: str) -> dict[int, int]:
    """Counts the loads from global memory in machine code by their bytes per thread."""
    sizes = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
    found: Counter[int] = Counter()
    for instruction in re.findall(r"\b(?:LDG|LDGSTS)\.[\w.]+", code):
        found[next((sizes[p] for p in instruction.split(".") if p in sizes), 4)] += 1
    return dict(sorted(found.items()))


def disassembled(binary: bytes, option: str) -> str:
    """What cuobjdump says of a binary."""
    import triton

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, option, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def zoo(gpu: AbsentGPU) -> None:
    """Launches Zoo-Tuning's kernels for a 3x3 convolution of 256 channels on 14 x 14 pixels."""
    from hubfast.kernels.aggregate import aggregate, aggregate_backward
    from hubfast.kernels.sample_conv import sample_conv
    from hubfast.kernels.sample_conv_backward import sample_conv_backward

    from hubfast.ops.reference import Geometry

    half, geometry = torch.bfloat16, Geometry((1, 1), (1, 1), (1, 1))
    x = torch.empty(BATCH, 256, 14, 14, dtype=half, memory_format=torch.channels_last)
    weights, gates = torch.empty(MODELS, 256, 3, 3, 256), torch.empty(BATCH, MODELS)
    gpu.call = "aggregate"
    mixed = aggregate(weights, gates, half)
    gpu.call = "aggregate_backward"
    aggregate_backward(mixed, weights, gates)
    gpu.call, own = "sample_conv", mixed.movedim(-1, 2)
    y = sample_conv(x, own, geometry)
    gpu.call = "sample_conv_backward"
    sample_conv_backward(y, x, own, geometry)


def routing(gpu: AbsentGPU) -> None:
    """Launches Hub-Pathway's kernels for images of 224 x 224 pixels and 1000 classes."""
    images = torch.empty(BATCH, 3, 224, 224)
    _route_and_combine(gpu, images, MODELS, ACTIVE, 1000, torch.bfloat16)


def _route_and_combine(
    gpu: AbsentGPU, images: torch.Tensor, models: int, k: int, width: int, dtype: torch.dtype
) -> None:
    from hubfast.kernels import dispatch, route, route_backward

    logits = torch.empty(len(images), models)
    gpu.call = "route"
    gates, probabilities, entropy, chosen, *_ = route.route(logits, k, logits, logits)
    gpu.call = "route_backward"
    route_backward.route_backward(
        gates, probabilities, entropy, gates, probabilities, chosen, logits, logits
    )
    order, position = torch.empty(chosen.numel(), dtype=torch.int64), chosen
    gpu.call = "dispatch"
    rows = dispatch.dispatch(images, order, k, 0, len(order), dtype)
    gpu.call = "dispatch_backward"
    dispatch.dispatch_backward(rows, position, 0, torch.float32)
    outputs = torch.empty(len(order), width, dtype=dtype)
    gpu.call = "combine"
    combined = dispatch.combine(outputs, gates, position)
    gpu.call = "combine_backward"
    dispatch.combine_backward(combined, outputs, gates, position)


def ones(gpu: AbsentGPU) -> None:
    """Launches all kernels with sizes of one, which Triton compiles as constants."""
    from hubfast.kernels.aggregate import aggregate, aggregate_backward
    from hubfast.kernels.sample_conv import launch_convolve
    from hubfast.kernels.sample_conv_backward import sample_conv_backward

    from hubfast.ops.reference import Geometry

    geometry, padded = Geometry((1, 1), (0, 0), (1, 1)), Geometry((1, 1), (1, 1), (1, 1))
    one, gate, pixel = torch.empty(1, 1), torch.empty(1, 1), torch.empty(1, 1, 1, 1)
    weight = torch.empty(1, 1, 1, 1, 1)
    gpu.call = "aggregate"
    aggregate_backward(aggregate(one, gate, one.dtype), one, gate)
    for gradient in (False, True):
        gpu.call = f"launch_convolve, gradient={gradient}"
        launch_convolve(pixel, weight, pixel, geometry, gradient=gradient)
    gpu.call = "sample_conv_backward"
    sample_conv_backward(torch.empty(1, 1, 3, 3), pixel, weight, padded, input_grad=False)
    for batch in (pixel, one):
        _route_and_combine(gpu, batch, 1, 1, 1, torch.float32)


PARTS: dict[str, Callable[[AbsentGPU], None]] = {
    "zoo": zoo,
    "routing": routing,
    "ones": ones,
}


def compiled(parts: list[str], capabilities: list[int]) -> list[Resources]:
    """Compiles the kernels of the parts for each of the compute capabilities."""
    import triton

    gpu = AbsentGPU()
    triton.runtime.driver.set_active(gpu)
    for gpu.capability in capabilities:
        for part in parts:
            PARTS[part](gpu)
    return gpu.compiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS)[:2])
    parser.add_argument("--sm", nargs="+", type=int, default=list(CAPABILITIES))
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    options = parser.parse_args()
    kernels = compiled(options.parts, options.sm)
    if options.json:
        print(json.dumps([asdict(kernel) for kernel in kernels]))
        return
    print("| kernel | sm | registers | stack bytes | shared bytes | loads: bytes x instructions |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    for kernel in kernels:
        loads = ", ".join(f"{size} x {count}" for size, count in kernel.loads.items())
        numbers = f"{kernel.registers} | {kernel.stack} | {kernel.shared}"
        print(f"| {kernel.name} | {kernel.capability} | {numbers} | {loads} |")


if __name__ == "__main__":
    main()
