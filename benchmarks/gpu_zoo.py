"""Zoo-Tuning on a GPU: python benchmarks/gpu_zoo.py check | aggregate | step | forms

Prints one JSON line a measurement, ours and the rival in one run, medians. `check` compares with
float64 on the same bfloat16 inputs. Five ResNet-50 at 224 pixels, batch 48, bfloat16 autocast.
"""

import argparse
import json
import sys

import timm
import torch
from recording import machine
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from zoo_rivals import Grouped, rival

from hubfast import ops
from hubfast.ops import reference
from hubfast.ops.reference import Geometry
from hubfast.zoo import ZooTuning

MODELS, BATCH, SIZE = 5, 48, 224
# in, out, kernel, stride, pixels a side: ResNet-50's
LAYERS = [(64, 64, 3, 1, 56), (128, 128, 3, 2, 56), (256, 256, 3, 1, 14), (512, 512, 3, 1, 7)]


def median_ms(run) -> float:
    run()
    return Timer("run()", globals={"run": run}).blocked_autorange(min_run_time=0.5).median * 1e3


def say(**row) -> None:
    print(json.dumps({**row, **machine()}), flush=True)


def layer(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Geometry]:
    inside, out, kernel, stride, side = shape
    x = torch.randn(BATCH, inside, side, side, device="cuda", dtype=torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last)
    weights = torch.randn(MODELS, out, inside, kernel, kernel, device="cuda") / inside
    padding = (kernel // 2,) * 2
    geometry = Geometry((stride,) * 2, padding, (1, 1))
    return x, weights, torch.rand(BATCH, MODELS, device="cuda"), geometry


def check() -> None:
    for shape in LAYERS:
        x, weights, gates, geometry = layer(shape)
        how = dict(zip(geometry._fields, geometry, strict=True))
        exact = reference.zoo_conv(x.double(), weights.double(), gates.double(), geometry)
        error = {}
        for backend in ("triton", "torch"):
            y = ops.zoo_conv(x, weights, gates, **how, backend=backend)
            error[backend] = float((y.double() - exact).norm() / exact.norm())
        say(what="zoo_conv error", shape=shape, **error)
        assert error["triton"] <= 1.5 * error["torch"]


def aggregate() -> None:
    for shape in LAYERS:
        _, weights, gates, _ = layer(shape)
        out = ops.aggregate(weights, gates, dtype=torch.bfloat16)
        moved = weights.nbytes + out.nbytes
        source = torch.empty(moved // 2, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        copy = median_ms(lambda target=target, source=source: target.copy_(source))
        times = {
            backend: median_ms(
                lambda b=backend, w=weights, g=gates: ops.aggregate(
                    w, g, dtype=torch.bfloat16, backend=b
                )
            )
            for backend in ("triton", "torch")
        }
        say(what="aggregate", shape=shape, copy_ms=copy, **times, of_copy=copy / times["triton"])


def forms() -> None:
    for shape in [(512, 512, 3, 1, side) for side in (1, 2, 4, 7, 10, 14)]:
        x, weights, gates, geometry = layer(shape)
        how = dict(zip(geometry._fields, geometry, strict=True))
        values = [v.requires_grad_() for v in (x, weights, gates)]
        times = {}
        for form in ("mix", "concatenate", "separate"):

            def run(form=form, values=values, how=how):
                ops.zoo_conv(*values, **how, form=form).sum().backward()

            times[form] = median_ms(run)
        say(what="zoo_conv forms", shape=shape, **times)


def network(form: str) -> nn.Module:
    torch.manual_seed(0)
    models = [timm.create_model("resnet50", num_classes=100) for _ in range(MODELS)]
    if form == "plain":
        return models[0].cuda().train()
    zoo = ZooTuning.from_models(models, 100, lite=form == "lite").train()
    return (rival(zoo, Grouped) if form == "grouped" else zoo).cuda()


def step() -> None:
    images = torch.rand(BATCH, 3, SIZE, SIZE, device="cuda")
    images = images.contiguous(memory_format=torch.channels_last)
    for form in ("plain", "lite", "hubfast", "grouped"):
        model = network(form)

        def run(model=model):
            model.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16):
                loss = model(images).square().sum()
            loss.backward()

        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        milliseconds = median_ms(run)
        peak = torch.cuda.max_memory_allocated() - before
        say(what="zoo step", form=form, ms=milliseconds, peak_mib=peak // 2**20)
        del model, run
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("check", "aggregate", "step", "forms"))
    what = parser.parse_args().what
    if not torch.cuda.is_available():
        sys.exit("no GPU here")
    {"check": check, "aggregate": aggregate, "step": step, "forms": forms}[what]()


if __name__ == "__main__":
    main()
