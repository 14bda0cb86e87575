"""Hub-Pathway on a GPU: correctness first, then routing, combine and executors against the rest.

    python benchmarks/gpu_pathway.py            # all, about five minutes
    python benchmarks/gpu_pathway.py --record   # and appends to results/gpu.jsonl

The eager chain is what one writes with torch alone. The naive loop finds each model's samples with
nonzero, which waits for the GPU, and takes them with index_select. Five ResNet-50, B = 48, k = 2,
float32 weights under bfloat16 autocast, channels last, balanced routing.
"""

import argparse
import json
import sys
from collections.abc import Callable
from statistics import median

import torch
from recording import RESULTS, machine
from torch import Tensor, nn
from torch.nn.functional import softplus

from hubfast import ops
from hubfast.pathway import HubPathway
from hubfast.pathway.gpu_executors import Graphs, Streams

BATCH, MODELS, K, CLASSES, PIXELS = 48, 5, 2, 100, 224


def milliseconds(run: Callable[[], object], rounds: int = 50, inner: int = 1) -> float:
    """Median time of a call, by events on the device."""
    for _ in range(5):
        run()
    spent = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(inner):
            run()
        end.record()
        end.synchronize()
        spent.append(start.elapsed_time(end) / inner)
    return median(spent)


def captured(run: Callable[[], object]) -> Callable[[], object]:
    """The same work as one CUDA graph: without the launches' cost. Refused if it waits."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def eager_route(logits: Tensor, spread: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
    noisy = logits + softplus(spread) * noise
    values, index = noisy.topk(K, dim=1)
    gates, probabilities = values.softmax(1), noisy.softmax(1)
    counts = torch.zeros(MODELS, dtype=torch.int64, device=logits.device)
    counts.scatter_add_(0, index.flatten(), torch.ones_like(index.flatten()))
    order = index.flatten().argsort(stable=True)
    position = torch.empty_like(order)
    position[order] = torch.arange(len(order), device=order.device)
    mean = probabilities.mean(0)
    entropy = -(probabilities * probabilities.log()).sum(1).mean(), -(mean * mean.log()).sum()
    return gates, counts, counts.cumsum(0), order, position, *entropy


def routing() -> list[dict]:
    logits, spread, noise = torch.randn(3, BATCH, MODELS, device="cuda")
    rows = torch.randn(BATCH * K, 2048, device="cuda")
    routes = ops.route(logits, K)

    def ours() -> object:
        return ops.route(logits, K, spread=spread, noise=noise)

    def eager() -> object:
        return eager_route(logits, spread, noise)

    def combine() -> object:
        return ops.combine(rows, routes.gates, routes.position)

    def eager_combine() -> object:
        chosen = rows[routes.position.flatten()].view(BATCH, K, -1)
        return (routes.gates[:, :, None] * chosen).sum(1)

    found = []
    for name, mine, rival in (("route", ours, eager), ("combine", combine, eager_combine)):
        times = {
            "hubfast_ms": milliseconds(mine, inner=20),
            "eager_ms": milliseconds(rival, inner=20),
            "hubfast_graph_ms": milliseconds(captured(mine), inner=20),
            "eager_graph_ms": milliseconds(captured(rival), inner=20),
        }
        found.append({"what": name, **times, "x": times["eager_ms"] / times["hubfast_ms"]})
    return found


class Fixed(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        first = torch.arange(BATCH) % MODELS
        values = torch.zeros(BATCH, MODELS)
        values[torch.arange(BATCH), first] = 60.0
        values[torch.arange(BATCH), (first + 1) % MODELS] = 50.0
        self.register_buffer("values", values)

    def forward(self, images: Tensor) -> Tensor:
        return self.values + 0 * self.network(images).float()


def naive(models, batch, routes, min_count):
    """What one writes first."""
    outputs = []
    for m, model in enumerate(models):
        samples = (routes.chosen == m).any(1).nonzero()[:, 0]
        rows = batch.of(model.size).index_select(0, samples)
        outputs.append(model(rows) if len(rows) else None)
    return outputs


def hub_times(training: bool) -> dict:
    import timm

    torch.manual_seed(0)
    models = [timm.create_model("resnet50") for _ in range(MODELS)]
    hub = HubPathway(models, K, classes=CLASSES)
    hub.generator.mean.module = Fixed(hub.generator.mean.module)
    hub = hub.cuda().to(memory_format=torch.channels_last).train(training)
    images = torch.rand(BATCH, 3, PIXELS, PIXELS, device="cuda")
    images = images.contiguous(memory_format=torch.channels_last)
    targets = torch.arange(BATCH, device="cuda") % CLASSES
    executors = {"naive": naive, "loop": "loop", "dense": "dense", "streams": Streams()}
    if not training:
        executors["graphs"] = Graphs()

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = sum(hub.losses(images, targets).values())
        loss.backward()
        hub.zero_grad(set_to_none=True)

    def infer() -> Tensor:
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            return hub(images)

    times, answers = {}, {}
    for name, executor in executors.items():
        hub.executor = executor
        if not training:
            answers[name] = infer().float()
        times[f"{name}_ms"] = milliseconds(step if training else infer, rounds=15)
    for answer in answers.values():
        torch.testing.assert_close(answer, answers["loop"], rtol=0.05, atol=0.05)
    return {"what": f"hub {'training' if training else 'inference'}, B={BATCH}", **times}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    record = parser.parse_args().record
    if not torch.cuda.is_available():
        sys.exit("no GPU here: nothing was measured")
    for row in (*routing(), hub_times(False), hub_times(True)):
        print(json.dumps(row), flush=True)
        if record:
            with (RESULTS / "gpu.jsonl").open("a") as file:
                file.write(json.dumps({**row, **machine()}) + "\n")


if __name__ == "__main__":
    main()
