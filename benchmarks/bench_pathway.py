"""Hub-Pathway against the ensemble of the same models on the CPU, beside the limit that FLOPs set.

    python benchmarks/bench_pathway.py resnet inference     # or: mixed, training; --batch

Both run in one process, in turns; medians. Routing is balanced, 8 of 20 images to each of five
models, k = 2: a trained hub's load is its own. The overhead is a step in which generator and models
only return what was computed before: what is left is routing, resizing, gathers, aggregation, loss.
"parts" are the same models alone, each on as many images as it gets in the hub, and the generator:
what the hub's step cannot beat with these networks at these batch sizes. Freed memory is kept by
the process, as `hubfast tune` has it.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import torch
from recording import RESULTS, on_machine
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hubfast.pathway import HubPathway
from hubfast.pathway.flops import inference_cost, training_cost
from hubfast.pathway.models import ResizedBatch
from hubfast.utils.allocator import keep_freed_memory
from hubfast.utils.threads import cores, parallel_map

SETS = {
    "resnet": ("resnet50",) * 5,
    "mixed": (
        "resnet50",
        "mobilenetv3_large_100",
        "efficientnet_b0",
        "swin_tiny_patch4_window7_224",
        "convnext_tiny",
    ),
}
K, CLASSES, PIXELS = 2, 100, 224


class Fixed(nn.Module):
    """Runs a network and returns other values, with its gradient."""

    def __init__(self, network: nn.Module, values: Tensor):
        super().__init__()
        self.network, self.values = network, values

    def forward(self, images: Tensor) -> Tensor:
        return self.values + 0 * self.network(images)


class Known(nn.Module):
    """Returns values it holds: a network that costs nothing."""

    def __init__(self, values: Tensor):
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, images: Tensor) -> Tensor:
        return self.values[: len(images)]


def create(names: tuple[str, ...], executor: str) -> HubPathway:
    import timm

    torch.manual_seed(0)
    models = [timm.create_model(name) for name in names]
    return HubPathway(models, K, classes=CLASSES, executor=executor)


def balanced(batch: int, models: int) -> Tensor:
    """Logits with which sample b goes to models b and b + 1, modulo their number."""
    first = torch.arange(batch) % models
    logits = torch.zeros(batch, models)
    logits[torch.arange(batch), first] = 60.0
    logits[torch.arange(batch), (first + 1) % models] = 50.0
    return logits


def fix(hub: HubPathway, batch: int) -> None:
    generator = hub.generator
    generator.mean.module = Fixed(generator.mean.module, balanced(batch, len(hub.names)))


def without_networks(names: tuple[str, ...], batch: int) -> HubPathway:
    hub = create(names, "loop")
    for model in hub.models:
        model.module = Known(torch.randn(batch, CLASSES))
    hub.generator.mean.module = Known(balanced(batch, len(names)))
    hub.generator.spread = Known(torch.full((batch, len(names)), -20.0))
    return hub


def inference(names: tuple[str, ...], images: Tensor) -> dict[str, Callable[[], object]]:
    hub, bare = create(names, "loop").eval(), without_networks(names, len(images)).eval()
    fix(hub, len(images))

    def pathway(executor: str) -> None:
        hub.executor = executor
        hub(images)

    def alone() -> list[Tensor]:
        batch = ResizedBatch(images)
        return [m(batch.of(m.size)) for m in hub.models]

    def parts() -> None:
        batch, count = ResizedBatch(images), len(images) * K // len(names)
        hub.generator(batch)
        for m in hub.models:
            m(batch.of(m.size)[:count])

    def together() -> list[Tensor]:
        batch = ResizedBatch(images)
        tasks = [(m, x) for m in hub.models for x in batch.of(m.size).split(4)]

        def forward(task: tuple[nn.Module, Tensor]) -> Tensor:
            with torch.inference_mode():
                return task[0](task[1])

        return parallel_map(forward, tasks)

    return {
        "hub loop": lambda: pathway("loop"),
        "hub threads": lambda: pathway("threads"),
        "ensemble loop": alone,
        "ensemble threads": together,
        "parts": parts,
        "overhead": lambda: bare(images),
    }


def training(names: tuple[str, ...], images: Tensor) -> dict[str, Callable[[], object]]:
    hub, bare = create(names, "loop").train(), without_networks(names, len(images)).train()
    fix(hub, len(images))
    targets = torch.arange(len(images)) % CLASSES

    def pathway(module: HubPathway) -> None:
        step(module, torch.stack(list(module.losses(images, targets).values())).sum())

    def ensemble(count: int) -> None:
        batch = ResizedBatch(images[:count])
        for model in hub.models:
            step(model, cross_entropy(model(batch.of(model.size)), targets[:count]))

    def generator() -> None:
        logits, spread = hub.generator(ResizedBatch(images))
        step(hub.generator, (logits + spread).square().mean())

    def parts() -> None:
        ensemble(len(images) * K // len(names))
        generator()

    return {
        "hub loop": lambda: pathway(hub),
        "ensemble loop": lambda: ensemble(len(images)),
        "parts": parts,
        "overhead": lambda: pathway(bare),
    }


def step(module: nn.Module, loss: Tensor) -> None:
    optimizer = torch.optim.SGD(module.parameters(), 1e-6)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def measure(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: median(known) for name, known in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", choices=SETS)
    parser.add_argument("what", choices=("inference", "training"))
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--give-back", action="store_true", help="Freed memory, as glibc does.")
    given = parser.parse_args()
    torch.set_num_threads(cores())
    if not given.give_back:
        keep_freed_memory()
    names = SETS[given.models]
    with torch.device("meta"):
        hub = HubPathway(_meta(names), K, classes=CLASSES)
    count = inference_cost if given.what == "inference" else training_cost
    cost = count(hub, PIXELS)
    images = torch.rand(given.batch, 3, PIXELS, PIXELS).contiguous(
        memory_format=torch.channels_last
    )
    with torch.inference_mode(given.what == "inference"):
        runs = (inference if given.what == "inference" else training)(names, images)
        seconds = measure(runs, given.rounds)
    best = {
        who: min(s for name, s in seconds.items() if name.startswith(who))
        for who in ("hub", "ensemble")
    }
    ratio = best["ensemble"] / best["hub"]
    row = {
        "what": f"Hub-Pathway {given.what}, {given.models}, B={given.batch}, k={K}",
        "seconds": {name: round(s, 4) for name, s in seconds.items()},
        "gflops": {"hub": round(cost.hub / 1e9, 3), "ensemble": round(cost.ensemble / 1e9, 3)},
        "limit": round(cost.limit, 3),
        "times_faster": round(ratio, 3),
        "of_limit": round(ratio / cost.limit, 3),
        "of_parts": round(seconds["parts"] / best["hub"], 3),
        "overhead_share": round(seconds["overhead"] / best["hub"], 4),
        "rounds": given.rounds,
    }
    print(json.dumps(row, indent=1))
    if given.record:
        with (RESULTS / "cpu.jsonl").open("a") as file:
            file.write(json.dumps(on_machine(row)) + "\n")


def _meta(names: tuple[str, ...]) -> list[nn.Module]:
    import timm

    return [timm.create_model(name) for name in names]


if __name__ == "__main__":
    main()
