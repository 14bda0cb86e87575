"""Registers, spills, shared memory, loads and products of the Triton kernels, without a GPU.

python benchmarks/kernel_resources.py [--parts zoo layers routing odd ones] [--sm 80 90] [--json]

hubfast's own functions launch the kernels, for a GPU that is not there (`absent_gpu`). Shapes are
those of a ResNet-50 with five models and a batch of 48: part `zoo` has one 3x3 convolution in
bfloat16, `layers` others, dtypes and memory orders. In part `odd` 16 divides nothing, and in `ones`
everything is one, so that Triton compiles it as a constant.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict

import torch
from absent_gpu import CAPABILITIES, AbsentGPU, Kernel, absent_gpu

BATCH, MODELS, ACTIVE = 48, 5, 2
# in, out, kernel, stride, pixels a side
MIDDLE = (256, 256, 3, 1, 14)
OTHERS = [(64, 64, 3, 1, 56), (128, 128, 3, 2, 56), (512, 512, 3, 1, 7)]
ODD = (37, 29, 3, 2, 15)
ONE = (1, 1, 3, 1, 1)


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def convolution(
    gpu: AbsentGPU,
    layer: tuple[int, int, int, int, int],
    dtype: torch.dtype = torch.bfloat16,
    samples: int = BATCH,
    models: int = MODELS,
    *,
    channels_last: bool = True,
) -> None:
    """Launches Zoo-Tuning's kernels for a convolution, forward and backward.

    Args:
        gpu: What notes the launches.
        layer: Input channels, output channels, side of the kernel, stride, and side of the map.
        dtype: Dtype of the images and of the mixed weights.
        samples: Number of samples.
        models: Number of models.
        channels_last: Whether channels are next to each other in memory, in images and weights.
    """
    from hubfast.kernels.aggregate import aggregate, aggregate_backward
    from hubfast.kernels.sample_conv import sample_conv
    from hubfast.kernels.sample_conv_backward import sample_conv_backward

    from hubfast.ops.reference import Geometry

    inside, out, side, stride, size = layer
    geometry = Geometry((stride, stride), (side // 2, side // 2), (1, 1))
    gates = empty(samples, models)
    if channels_last:
        x = empty(samples, size, size, inside, dtype=dtype).movedim(-1, 1)
        weights = empty(models, out, side, side, inside)
    else:
        x, weights = (
            empty(samples, inside, size, size, dtype=dtype),
            empty(models, out, inside, side, side),
        )
    called = f"{inside}->{out} {side}x{side}/{stride} at {size}, {str(dtype)[6:]}"
    called += "" if channels_last else ", channels first"
    gpu.call = f"aggregate {called}"
    mixed = aggregate(weights, gates, dtype)
    gpu.call = f"aggregate_backward {called}"
    aggregate_backward(mixed, weights, gates)
    own = mixed.movedim(-1, 2) if channels_last else mixed
    gpu.call = f"sample_conv {called}"
    y = sample_conv(x, own, geometry)
    gpu.call = f"sample_conv_backward {called}"
    sample_conv_backward(y, x, own, geometry)


def zoo(gpu: AbsentGPU) -> None:
    """Launches Zoo-Tuning's kernels for a 3x3 convolution of 256 channels on 14 x 14 pixels."""
    convolution(gpu, MIDDLE)


def layers(gpu: AbsentGPU) -> None:
    """Launches Zoo-Tuning's kernels for other layers, dtypes and memory orders."""
    for layer in OTHERS:
        convolution(gpu, layer)
    convolution(gpu, MIDDLE, torch.float32)
    convolution(gpu, MIDDLE, channels_last=False)


def routing(gpu: AbsentGPU) -> None:
    """Launches Hub-Pathway's kernels for images of 224 x 224 pixels and 1000 classes."""
    route_and_combine(gpu, empty(BATCH, 3, 224, 224), MODELS, ACTIVE, 1000, torch.bfloat16)


def route_and_combine(
    gpu: AbsentGPU, images: torch.Tensor, models: int, k: int, width: int, dtype: torch.dtype
) -> None:
    """Launches Hub-Pathway's kernels, forward and backward.

    Args:
        gpu: What notes the launches.
        images: `(B, ...)`.
        models: Number of models.
        k: Number of models that a sample takes.
        width: Number of classes.
        dtype: Dtype of what the models get and give.
    """
    from hubfast.kernels import dispatch, route, route_backward

    logits = empty(len(images), models)
    gpu.call = "route"
    gates, probabilities, entropy, chosen, *_ = route.route(logits, k, logits, logits)
    gpu.call = "route_backward"
    route_backward.route_backward(
        gates, probabilities, entropy, gates, probabilities, chosen, logits, logits
    )
    order, position = empty(chosen.numel(), dtype=torch.int64), chosen
    gpu.call = "dispatch"
    rows = dispatch.dispatch(images, order, k, 0, len(order), dtype)
    gpu.call = "dispatch_backward"
    dispatch.dispatch_backward(rows, position, 0, torch.float32)
    outputs = empty(len(order), width, dtype=dtype)
    gpu.call = "combine"
    combined = dispatch.combine(outputs, gates, position)
    gpu.call = "combine_backward"
    dispatch.combine_backward(combined, outputs, gates, position)


def odd(gpu: AbsentGPU) -> None:
    """Launches all kernels with sizes that 16 does not divide."""
    convolution(gpu, ODD, torch.float16, samples=7, models=3)
    route_and_combine(gpu, empty(7, 3, 15, 15), 3, ACTIVE, 37, torch.float16)


def ones(gpu: AbsentGPU) -> None:
    """Launches all kernels with sizes of one."""
    convolution(gpu, ONE, torch.float32, samples=1, models=1)
    for batch in (empty(1, 1, 1, 1), empty(1, 1)):
        route_and_combine(gpu, batch, 1, 1, 1, torch.float32)


PARTS: dict[str, Callable[[AbsentGPU], None]] = {
    "zoo": zoo,
    "layers": layers,
    "routing": routing,
    "odd": odd,
    "ones": ones,
}


def compiled(parts: list[str], capabilities: list[int]) -> list[Kernel]:
    """Compiles the kernels of the parts for each of the compute capabilities."""
    gpu = absent_gpu()
    for gpu.capability in capabilities:
        for part in parts:
            PARTS[part](gpu)
    return gpu.kernels


def row(kernel: Kernel) -> str:
    """A kernel's row of the table."""
    loads = ", ".join(f"{size} x {count}" for size, count in kernel.code.loads.items())
    numbers = (kernel.registers, kernel.stack, kernel.code.spills, kernel.shared)
    columns = (f"{kernel.call}: {kernel.name}", kernel.capability, *numbers)
    units = ", ".join(kernel.code.units) or "none"
    return "| " + " | ".join(map(str, (*columns, loads, units))) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["zoo", "routing"])
    parser.add_argument("--sm", nargs="+", type=int, default=list(CAPABILITIES))
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    options = parser.parse_args()
    kernels = compiled(options.parts, options.sm)
    if options.json:
        print(json.dumps([asdict(kernel) for kernel in kernels]))
        return
    columns = ["kernel", "sm", "registers", "stack bytes", "spilled", "shared bytes"]
    columns += ["loads: bytes x instructions", "matrix products"]
    print("| " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * 5 + " --- | --- |")
    for kernel in kernels:
        print(row(kernel))


if __name__ == "__main__":
    main()
