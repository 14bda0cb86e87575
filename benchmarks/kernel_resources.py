"""Registers, spills and shared memory of Zoo-Tuning's kernels, compiled without a GPU.

python benchmarks/kernel_resources.py

Takes the assembler that comes with Triton. Shapes are those of a ResNet-50 with five models and a
batch of 48 in bfloat16.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CAPABILITIES = (80, 90, 100)


@dataclass(frozen=True)
class Resources:
    """What a kernel takes of a multiprocessor."""

    name: str
    registers: int  # a thread
    spills: int  # bytes
    shared: int  # bytes a program
    size: int  # bytes of machine code


def zoo_kernels(capability: int) -> Iterator[Resources]:
    """Each of Zoo-Tuning's kernels compiled for `sm_<capability>`."""
    from hubfast.kernels import aggregate, fused_zoo_conv, sample_conv, sample_conv_backward

    half, wide = "*bf16", "*fp32"
    tile = {"PRECISION": "ieee", "PIXELS": 64, "OUT": 64, "CHANNELS": 32}
    block = {"MODELS": 8, "BLOCK": 512}
    mixed = {**block, "SAMPLES": 48}
    backward = aggregate._aggregate_backward
    convolve, gradient = sample_conv._convolve, sample_conv_backward._weight_gradient
    by_weights = {**tile, "PIXELS": 32, "CHANNELS": 64}
    yield compiled("aggregate", aggregate._aggregate, [wide, wide, half], mixed, capability)
    yield compiled("aggregate backward", backward, [half, *[wide] * 4], block, capability)
    for name, flag in (("sample_conv", False), ("sample_conv input gradient", True)):
        yield compiled(name, convolve, [half] * 3, {**tile, "GRADIENT": flag}, capability)
    yield compiled("sample_conv weight gradient", gradient, [half] * 3, by_weights, capability)
    fused, both = fused_zoo_conv._mixed_convolve, fused_zoo_conv._weight_and_gate_gradients
    group = {**tile, "SAMPLES": fused_zoo_conv.SAMPLES, "OUT": fused_zoo_conv.OUT}
    for name, flag in (("fused zoo_conv", False), ("fused zoo_conv input gradient", True)):
        kinds = [half, wide, wide, half]
        yield compiled(name, fused, kinds, {**group, "GRADIENT": flag}, capability, warps=8)
    side = dict.fromkeys(("OUT", "CHANNELS"), fused_zoo_conv.SIDE)
    owned = {"PRECISION": "ieee", "MODELS": 8, "PIXELS": 32, **side}
    kinds = [half, half, *[wide] * 4]
    yield compiled("fused weight and gate gradients", both, kinds, owned, capability, warps=8)


def compiled(
    name, kernel, pointers: list[str], constants: dict, capability: int, warps: int = 4
) -> Resources:
    """Of one Triton kernel; arguments that are no pointers and no constants are integers."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kinds = iter(pointers)
    signature = {
        argument: "constexpr"
        if argument in constants
        else next(kinds)
        if argument.endswith("_ptr")
        else "i32"
        for argument in kernel.arg_names
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    target = GPUTarget("cuda", capability, 32)
    binary = triton.compile(source, target=target, options={"num_warps": warps})
    registers, spills = assembled(binary.asm["ptx"], capability)
    return Resources(name, registers, spills, binary.metadata.shared, len(binary.asm["cubin"]))


def assembled(ptx: str, capability: int) -> tuple[int, int]:
    """Registers and bytes spilled, as the assembler says."""
    import triton

    folder = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    newest = folder / "ptxas-blackwell"
    assembler = newest if capability >= 100 and newest.exists() else folder / "ptxas"
    target = re.search(r"\.target (sm_\w+)", ptx).group(1)
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [assembler, "-v", f"--gpu-name={target}", file.name, "-o", "/dev/null"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    registers = re.search(r"Used (\d+) registers", done.stderr).group(1)
    spills = re.search(r"(\d+) bytes spill stores", done.stderr)
    return int(registers), int(spills.group(1)) if spills else 0


def main() -> None:
    print("| kernel | sm | registers | spilled bytes | shared bytes |")
    print("| --- | --- | ---: | ---: | ---: |")
    for capability in CAPABILITIES:
        for found in zoo_kernels(capability):
            numbers = f"{found.registers} | {found.spills} | {found.shared}"
            print(f"| {found.name} | {capability} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
