"""A training step of Zoo-Tuning beside the public method and a plain step, and what it consists of.

M models at bfloat16 autocast, float32 weights, channels last; forward and backward, no optimizer.
`grouped` is the public method: weights of each sample by einsum, one convolution with a group a
sample. Time and memory are of the same run.
"""

import json
import os
import tempfile
from pathlib import Path

import torch
from gpu import tables
from gpu.jobs import Say, Sizes
from gpu.rows import ROWS, alike, read
from gpu.timing import milliseconds
from torch import nn

FORMS = ("plain", "hubfast", "kept", "grouped", "lite")


def network(form: str, sizes: Sizes) -> nn.Module:
    """A network in training: of one model (plain), or of all in the form named."""
    import timm
    from zoo_rivals import Grouped, rival

    from hubfast.zoo import ZooTuning

    torch.manual_seed(0)
    count = 1 if form == "plain" else sizes.models
    models = [timm.create_model(sizes.network, num_classes=sizes.classes) for _ in range(count)]
    if form == "plain":
        return models[0].cuda().to(memory_format=torch.channels_last).train()
    how = {"lite": form == "lite", "recompute": form != "kept"}
    zoo = ZooTuning.from_models(models, sizes.classes, **how).train()
    if form == "grouped":  # weights of five dimensions
        return rival(zoo, Grouped).cuda()
    return zoo.cuda().to(memory_format=torch.channels_last)


def stepper(form: str, sizes: Sizes):
    """A call that makes a training step on one of two batches."""
    model = network(form, sizes)
    batches = [
        torch.rand(sizes.batch, 3, sizes.pixels, sizes.pixels, device="cuda").contiguous(
            memory_format=torch.channels_last
        )
        for _ in range(2)
    ]

    def run(turn: int) -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(batches[turn % 2]).square().mean()
        loss.backward()

    return run


def step_as_measured(folder: Path, say: Say, sizes: Sizes) -> None:
    """A step with the choices that were measured so far, whose rows lie in `folder`."""
    rows = read(folder / ROWS)
    machine = [row["found"] for row in rows if row.get("what") == "machine"][-1]
    with tempfile.TemporaryDirectory() as scratch:
        path = tables.write(Path(scratch), alike(rows, machine), machine)
        say(what="choices", tables=json.loads(path.read_text())["tables"])
        os.environ["HUBFAST_MEASURED"] = scratch
        step("hubfast", say, sizes, "hubfast_measured")


def step(form: str, say: Say, sizes: Sizes, name: str | None = None) -> None:
    """Milliseconds and peak memory of a step in one of `FORMS`; `name` is for its figures."""
    torch.backends.cudnn.benchmark = True
    name = name or form
    run = stepper(form, sizes)
    run(0)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    took = milliseconds(run, sizes)
    peak = (torch.cuda.max_memory_allocated() - before) / 2**20
    figures = {f"zoo.step.{name}_ms": took.ms, f"zoo.step.{name}_peak_mib": peak}
    say(what="zoo step", form=name, ms=took, peak_mib=peak, figures=figures)


def profile(form: str, say: Say, sizes: Sizes) -> None:
    """The kernels of a step that take most of the device's time."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    torch.backends.cudnn.benchmark = True
    run = stepper(form, sizes)
    for turn in range(3):
        run(turn)
    torch.cuda.synchronize()
    with profiled(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        run(0)
        torch.cuda.synchronize()
    events = [e for e in found.key_averages() if getattr(e, "self_device_time_total", 0) > 0]
    events.sort(key=lambda e: -e.self_device_time_total)
    rows = [[e.key[:90], round(e.self_device_time_total / 1e3, 4), e.count] for e in events[:40]]
    total = sum(e.self_device_time_total for e in events) / 1e3
    figures = {f"zoo.profile.{form}_device_ms": total}
    say(what="kernels of a zoo step", form=form, device_ms=total, kernels=rows, figures=figures)
