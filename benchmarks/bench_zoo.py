"""A training step of Zoo-Tuning beside the public method, on a CPU.

python benchmarks/bench_zoo.py resnet18 [--align none] [--batch 16] [--models 5] [--record]

Forward and backward of a whole network at 224 pixels with random weights, all forms in turn in one
run; medians, with freed memory kept by the process, as `hubfast tune` has it. Memory is what a step
adds to the process at its peak, each form in a process of its own. `plain` is one model; `align`
costs what it costs in all forms that have it.

Floors are counted, not measured. In time: the multiply-adds of forward and backward beside a plain
step's, which `lite` and `hubfast` would take at its rate; alignment alone is three products
`M O^2 I k^2` a layer. In memory: what a plain step takes, and the gradients of the other models'
weights, which every form has.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from pathlib import Path

import timm
import torch
from recording import RESULTS, on_machine
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from zoo_rivals import CondConv, Grouped, rival

from hubfast.ops.flops import formulas
from hubfast.profiling.counts import parameters
from hubfast.utils.allocator import keep_freed_memory
from hubfast.zoo import ZooTuning

FORMS = ("plain", "hubfast", "grouped", "condconv", "lite")
CLASSES, SIZE = 100, 224


def network(form: str, options: argparse.Namespace) -> nn.Module:
    torch.manual_seed(0)
    models = [timm.create_model(options.network, num_classes=3) for _ in range(options.models)]
    if form == "plain":
        models[0].reset_classifier(CLASSES)
        return models[0].train()
    zoo = ZooTuning.from_models(models, CLASSES, align=options.align, lite=form == "lite").train()
    kinds = {"grouped": Grouped, "condconv": CondConv}
    return rival(zoo, kinds[form]).train() if form in kinds else zoo


def step(model: nn.Module, images: torch.Tensor) -> None:
    model.zero_grad(set_to_none=True)
    model(images).square().sum().backward()


def peak(form: str, options: argparse.Namespace, queue) -> None:
    """MiB that two steps add to the resident memory; gradients included."""
    model, images = network(form, options), torch.rand(options.batch, 3, SIZE, SIZE)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    before = int(status["VmRSS"].split()[0])
    for _ in range(2):
        step(model, images)
    queue.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def measured_memory(forms: list[str], options: argparse.Namespace) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    found = {}
    for form in forms:
        queue = context.Queue()
        process = context.Process(target=peak, args=(form, options, queue))
        process.start()
        found[form] = round(queue.get())
        process.join()
    return found


def measured_times(forms: list[str], options: argparse.Namespace) -> dict[str, float]:
    keep_freed_memory()
    models = {form: network(form, options) for form in forms}
    images = torch.rand(options.batch, 3, SIZE, SIZE)
    times: dict[str, list[float]] = {form: [] for form in forms}
    for number in range(options.rounds + 1):
        for form, model in models.items():
            began = time.perf_counter()
            step(model, images)
            if number:  # the first warms up
                times[form].append(time.perf_counter() - began)
            model.zero_grad(set_to_none=True)
    return {form: round(statistics.median(values), 3) for form, values in times.items()}


def step_products(form: str, options: argparse.Namespace) -> int:
    """Multiply-adds of a step in matrix products and convolutions."""
    with torch.device("meta"):
        model, images = network(form, options), torch.empty(options.batch, 3, SIZE, SIZE)
    if form != "plain":
        for layer in model.zoo_layers().values():
            layer.form = "mix"  # the fewest; others spend multiply-adds to save memory traffic
    with FlopCounterMode(display=False, custom_mapping=formulas()) as counter:
        step(model, images)
    return counter.get_total_flops() // 2


def floors(forms: list[str], options: argparse.Namespace) -> dict[str, float]:
    """Of each of our forms: multiples of the plain step, or MiB above it."""
    ours = [form for form in forms if form in ("hubfast", "lite")]
    if not options.memory:
        one = step_products("plain", options)
        return {form: round(step_products(form, options) / one, 3) for form in ours}
    with torch.device("meta"):
        one, *more = (parameters(network(form, options)) for form in ("plain", *ours))
    # In MiB, of float32: gradients that a plain step does not have
    return {form: round((n - one) * 4 / 2**20) for form, n in zip(ours, more, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", nargs="?", default="resnet18")
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=FORMS)
    parser.add_argument("--align", default="published", choices=("published", "spatial", "none"))
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="memory instead of time")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    measure = measured_memory if options.memory else measured_times
    what = "memory_mib" if options.memory else "seconds"
    row = {
        "what": f"zoo step {options.network}",
        "models": options.models,
        "batch": options.batch,
        "align": options.align,
        what: measure(options.forms, options),
        "floor_mib_above_plain" if options.memory else "floor_of_plain": floors(
            options.forms, options
        ),
    }
    print(json.dumps(row))
    if options.record:
        with (RESULTS / "cpu.jsonl").open("a") as file:
            file.write(json.dumps(on_machine(row)) + "\n")


if __name__ == "__main__":
    main()
