"""How much of the card cuDNN's grouped convolutions reach, as the public Zoo-Tuning uses them.

The batch is folded into the groups: sample b's input channels are group b's. Plain convolutions of
the same shapes stand beside them.
"""

from dataclasses import replace

import torch
from gpu.jobs import Say, Sizes
from gpu.shapes import Shape, convolutions
from gpu.timing import in_ms, timed

LAYOUTS = {"nhwc": torch.channels_last, "nchw": torch.contiguous_format}


def grouped(say: Say, sizes: Sizes) -> None:
    """Milliseconds of forward, input gradient and weight gradient, per shape and layout."""
    torch.backends.cudnn.benchmark = True
    sizes = replace(sizes, rounds=3, round_ms=sizes.round_ms / 3)  # some 300 convolutions
    shapes = convolutions(sizes)
    peak = sizes.matrix // 2
    a, b = torch.randn(2, peak, peak, dtype=torch.bfloat16, device="cuda")
    times, _ = timed({"gemm": lambda _: a @ b}, sizes)
    tflops = 2 * peak**3 / times["gemm"].ms / 1e9
    total: dict[str, float] = {}
    for shape, count in sorted(shapes.items(), key=lambda pair: -pair[1] * pair[0].flops(1)):
        for layout in LAYOUTS:
            for way in ("grouped", "plain"):
                found, errors = timed(_passes(shape, sizes, layout, way == "grouped"), sizes)
                flops = shape.flops(sizes.batch)
                share = {name: flops / t.ms / 1e9 / tflops for name, t in found.items()}
                say(
                    what=f"{way} convolution",
                    shape=shape,
                    layers=count,
                    layout=layout,
                    ms=in_ms(found),
                    of_gemm_peak=share,
                    errors=errors,
                )
                name = f"probe.{way}_{layout}"
                total[name] = total.get(name, 0.0) + count * sum(t.ms for t in found.values())
    flops = 3 * sum(count * shape.flops(sizes.batch) for shape, count in shapes.items())
    figures = {f"{name}_ms": ms for name, ms in total.items()}
    figures |= {f"{name}_of_peak": flops / ms / 1e9 / tflops for name, ms in total.items() if ms}
    say(what="convolutions of a step", flops=flops, gemm_tflops=tflops, figures=figures)


def _passes(shape: Shape, sizes: Sizes, layout: str, folded: bool) -> dict:
    """Forward and both gradients of one convolution."""
    samples = sizes.batch
    groups, batch, fold = (samples, 1, samples) if folded else (1, samples, 1)
    half = {"device": "cuda", "dtype": torch.bfloat16}
    kind = LAYOUTS[layout]
    x = torch.randn(batch, fold * shape.inside, shape.side, shape.side, **half)
    weight = torch.randn(fold * shape.out, shape.inside, shape.kernel, shape.kernel, **half)
    grad = torch.randn(batch, fold * shape.out, shape.out_side, shape.out_side, **half)
    x, weight, grad = (t.contiguous(memory_format=kind) for t in (x, weight, grad))
    stride, padding = [shape.stride] * 2, [shape.kernel // 2] * 2
    how = (stride, padding, [1, 1], False, [0, 0], groups)

    def backward(mask: list[bool]):
        return lambda _: torch.ops.aten.convolution_backward(grad, x, weight, None, *how, mask)

    return {
        "forward": lambda _: torch.convolution(x, weight, None, *how),
        "input gradient": backward([True, False, False]),
        "weight gradient": backward([False, True, False]),
    }
