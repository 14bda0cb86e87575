"""Arithmetic, no measurement: what the convolutions of a Zoo-Tuning step take on an H100.

python benchmarks/step_model.py [--chunks N | --kept]

Five ResNet-50, batch 48, bfloat16: each of the 25 shapes forward and backward, as often as it
occurs. hubfast's own functions run on tensors without memory. Triton's kernels are compiled
(`absent_gpu`) and noted with their grids, torch's operators with their operands (`noted`). How long
each takes is in `h100`. Beside them stand one model's plain convolutions, and the public grouped
form: mixed weights in memory, kept for backward, and one convolution with a group for each sample.
"""

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from absent_gpu import AbsentGPU, Launch, absent_gpu
from h100 import LAUNCH, L2Cache, kernel_seconds, main_loop, product_seconds
from noted import Noted, Operation
from torch import Tensor

from hubfast import ops
from hubfast.ops.reference import Geometry
from hubfast.zoo.planner import plan

BATCH, MODELS = 48, 5
PRODUCTS = 0.6  # of the tensor cores' peak: what torch's products and plain convolutions reach
GROUPED = (0.25, 0.4, 0.6)
COLUMNS = ("forward", "input gradient", "weight gradient", "aggregate", "its gradients", "copies")
KERNELS = {"_aggregate": "aggregate", "_aggregate_backward": "its gradients"}
Pass = list[Launch | Operation]


@dataclass(frozen=True)
class Layer:
    """A convolution of ResNet-50."""

    group: str  # of layers in the table
    inside: int
    out: int
    side: int  # of the kernel
    stride: int
    size: int  # side of the map that comes in
    count: int  # how often it occurs

    @property
    def geometry(self) -> Geometry:
        return Geometry((self.stride,) * 2, (self.side // 2,) * 2, (1, 1))

    @property
    def pixels(self) -> int:
        return (self.size // self.stride) ** 2

    @property
    def weight(self) -> tuple[int, int, int, int]:
        return self.out, self.inside, self.side, self.side

    @property
    def flops(self) -> int:
        """Multiplications and additions in one direction."""
        return 2 * BATCH * self.pixels * math.prod(self.weight)


def layers() -> Iterator[Layer]:
    """ResNet-50's convolutions at 224 pixels."""
    yield Layer("stem", 3, 64, 7, 2, 224, 1)
    stages = ((64, 64, 56, 3, 1), (256, 128, 56, 4, 2), (512, 256, 28, 6, 2), (1024, 512, 14, 3, 2))
    for number, (inside, width, size, blocks, stride) in enumerate(stages, 1):
        out, after, spatial = 4 * width, size // stride, f"3x3, stage {number}"
        yield Layer("1x1", inside, width, 1, 1, size, 1)
        yield Layer(spatial if stride == 1 else "3x3, strided", width, width, 3, stride, size, 1)
        yield Layer("1x1", width, out, 1, 1, after, blocks)
        yield Layer("1x1" if stride == 1 else "1x1, strided", inside, out, 1, stride, size, 1)
        yield Layer("1x1", out, width, 1, 1, after, blocks - 1)
        yield Layer(spatial, width, width, 3, 1, after, blocks - 1)


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def images(channels: int, side: int) -> Tensor:
    """`(B, C, side, side)` in bfloat16, channels last."""
    return empty(BATCH, side, side, channels, dtype=torch.bfloat16).movedim(-1, 1)


def zoo(gpu: AbsentGPU, layer: Layer, chunk: int | None = None, *, kept: bool) -> list[Pass]:
    """Forward and backward of Zoo-Tuning's layer.

    Args:
        gpu: Notes what is launched.
        layer: The layer.
        chunk: Samples that are mixed at a time; None for hubfast's own choice.
        kept: Whether mixed weights are kept for backward.
    """
    from hubfast.kernels.zoo_conv import zoo_conv, zoo_conv_backward

    from hubfast.kernels import aggregate, sample_conv, sample_conv_backward

    x, gates = images(layer.inside, layer.size), empty(BATCH, MODELS)
    weights = empty(MODELS, layer.out, layer.side, layer.side, layer.inside).movedim(-1, 2)
    form = plan(BATCH, MODELS, layer.weight, layer.pixels, device="cuda", recompute=not kept)
    grad = images(layer.out, layer.size // layer.stride)
    needed = layer.group != "stem"  # nobody asks for the gradient of the images
    forward: Pass = []
    backward: Pass = []
    gpu.launches = forward
    if form == "mix":
        with Noted(forward):
            zoo_conv(x, weights, gates, layer.geometry, chunk=chunk)
        gpu.launches = backward
        with Noted(backward):
            how = {"input_grad": needed, "chunk": chunk}
            zoo_conv_backward(grad, x, weights, gates, layer.geometry, **how)
        return [forward, backward]
    if form == "keep":
        with Noted(forward):
            mixed = aggregate.aggregate(weights, gates, x.dtype)
            sample_conv.sample_conv(x, mixed, layer.geometry)
        gpu.launches = backward
        with Noted(backward):
            _, d_mixed = sample_conv_backward.sample_conv_backward(
                grad, x, mixed, layer.geometry, input_grad=needed
            )
            aggregate.aggregate_backward(d_mixed, weights, gates)
        return [forward, backward]
    values = [one.requires_grad_() for one in ((x, weights, gates) if needed else (weights, gates))]
    stride, padding, dilation, _ = layer.geometry
    how = {"stride": stride, "padding": padding, "dilation": dilation, "form": form}
    with Noted(forward):
        y = ops.zoo_conv(x, weights, gates, **how)
    with Noted(backward):
        torch.autograd.grad(y, values, grad)
    return [forward, backward]


def plain(layer: Layer) -> list[Pass]:
    """Forward and backward of one model's convolution."""
    x, dx = (images(layer.inside, layer.size) for _ in range(2))
    y, dy = (images(layer.out, layer.size // layer.stride) for _ in range(2))
    weight, dw = (empty(*layer.weight, dtype=torch.bfloat16) for _ in range(2))
    return _convolution(layer, (x, weight, y), (dy, dx, dw))


def grouped(layer: Layer) -> list[Pass]:
    """Forward and backward of mixed weights in memory and one convolution."""
    x, dx = (images(layer.inside, layer.size) for _ in range(2))
    y, dy = (images(layer.out, layer.size // layer.stride) for _ in range(2))
    weights, d_weights = (empty(MODELS, *layer.weight) for _ in range(2))
    mixed, d_mixed = (empty(BATCH, *layer.weight, dtype=torch.bfloat16) for _ in range(2))
    forward, backward = _convolution(layer, (x, mixed, y), (dy, dx, d_mixed))
    mix = Operation("mm", 0, [weights, mixed])
    return [[mix, *forward], [*backward, Operation("mm", 0, [d_mixed, weights, d_weights])]]


def _convolution(layer: Layer, operands: tuple, gradients: tuple) -> list[Pass]:
    (x, weight, y), (dy, dx, dw) = operands, gradients
    backward = [Operation("weight gradient", layer.flops, [dy, x, dw])]
    if layer.group != "stem":
        backward.insert(0, Operation("input gradient", layer.flops, [dy, weight, dx]))
    return [[Operation("forward", layer.flops, [x, weight, y])], backward]


def turns(launch: Launch, layer: Layer) -> float:
    """Turns of the main loop of one program, on average.

    Raises:
        ValueError: The kernel is not known, or its main loop does something else than expected.
    """
    kernel, loop = launch.kernel, main_loop(launch.kernel.code)
    sizes = kernel.constants
    if kernel.name == "_aggregate":  # the assembler does several samples in a turn
        each = math.ceil(len(launch.tensors[1]) / launch.grid[1])
        return each * sizes["BLOCK"] * 2 / (loop.written * 32 * kernel.warps)
    if kernel.name == "_aggregate_backward":
        return math.ceil(len(launch.tensors[2]) / sizes["SAMPLES"])
    if kernel.name not in ("_convolve", "_weight_gradient"):
        raise ValueError(f"{kernel.name} must be a kernel whose turns are known")
    tile = 2 * math.prod(sizes.get(name, 1) for name in ("PIXELS", "OUT", "CHANNELS", "COLUMNS"))
    if loop.products * kernel.warps != tile or any(one.holds(loop) for one in kernel.code.loops):
        raise ValueError(f"a turn of {kernel.name} must multiply one tile, {sizes}, got {loop}")
    if kernel.name == "_weight_gradient":
        return math.ceil(layer.pixels / sizes["PIXELS"])
    taps, channels = layer.side**2, layer.inside
    if sizes["GRADIENT"]:  # a program has pixels that the same taps reach
        taps, channels = taps / layer.stride**2, layer.out
    return taps * math.ceil(channels / sizes["CHANNELS"])


def column(event: Launch | Operation, backward: bool, layer: Layer) -> str:
    """Where the table has an event."""
    if isinstance(event, Launch):
        inside = "input gradient" if event.kernel.constants.get("GRADIENT") else "forward"
        inside = "weight gradient" if event.kernel.name == "_weight_gradient" else inside
        return KERNELS.get(event.kernel.name, inside)
    if not event.flops:
        return "copies"
    if not backward:
        return "forward"
    mixed = event.tensors[-1].shape[1:].numel() == math.prod(layer.weight)
    return "weight gradient" if mixed or event.name == "weight gradient" else "input gradient"


def seconds(layer: Layer, passes: list[Pass], efficiency: float = PRODUCTS) -> Counter[str]:
    """Seconds by column, and the number of launches, of all layers of this shape."""
    found: Counter[str] = Counter()
    for number, events in enumerate(passes):
        cache = L2Cache()
        for event in events:
            moved = cache.missed(event.tensors)
            if isinstance(event, Launch):
                time = kernel_seconds(event, turns(event, layer), moved)
            else:
                time = product_seconds(event.flops, moved, efficiency)
            found[column(event, number == 1, layer)] += time * layer.count
            found["all"] += time * layer.count
            found["launches"] += layer.count
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, help="samples mixed at a time; hubfast's own choice")
    parser.add_argument("--kept", action="store_true", help="mixed weights are kept for backward")
    options = parser.parse_args()
    gpu = absent_gpu()
    gpu.capability = 90
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for layer in layers():
        row = seconds(layer, zoo(gpu, layer, options.chunks, kept=options.kept))
        rivals = {"plain": seconds(layer, plain(layer))}
        for part in GROUPED:
            rivals[f"grouped at {part:.0%}"] = seconds(layer, grouped(layer), part)
        for name, rival in rivals.items():
            row[name], row[f"launches, {name}"] = rival["all"], rival["launches"]
        groups[layer.group] += row
        groups["sum"] += row
    groups["sum"] = groups.pop("sum")  # the last row
    columns = [*COLUMNS, "all", *rivals]
    print(f"| ms of a step | {' | '.join([*columns, 'launches'])} |")
    print("| --- |" + " ---: |" * (len(columns) + 1))
    for name, row in groups.items():
        numbers = [f"{row[column] * 1e3:.2f}" for column in columns]
        print(f"| {name} | {' | '.join([*numbers, str(row['launches'])])} |")
    total = groups["sum"]
    waits = {"all": total["launches"], **{name: total[f"launches, {name}"] for name in rivals}}
    numbers = [f"{name} {(total[name] + n * LAUNCH) * 1e3:.2f} ({n})" for name, n in waits.items()]
    print(f"\nWith {LAUNCH * 1e6:.0f} us for each launch: {', '.join(numbers)}.")


if __name__ == "__main__":
    main()
