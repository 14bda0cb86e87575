"""Hub-Pathway: routing and combine beside the eager chain, executors beside a naive loop.

The eager chain is what one writes with torch alone. The naive loop finds each model's samples with
nonzero, which waits for the GPU, and takes them with index_select. Float32 weights under bfloat16
autocast, channels last, balanced routing.
"""

from collections.abc import Callable

import torch
from gpu.jobs import Say, Sizes
from gpu.timing import captured, in_ms, timed
from torch import Tensor, nn
from torch.nn.functional import softplus

WIDTH = 2048  # of the rows that are combined


def eager_route(logits: Tensor, spread: Tensor, noise: Tensor, k: int) -> tuple[Tensor, ...]:
    """What `ops.route` gives, as a chain of torch's functions."""
    noisy = logits + softplus(spread) * noise
    values, index = noisy.topk(k, dim=1)
    gates, probabilities = values.softmax(1), noisy.softmax(1)
    counts = torch.zeros(logits.shape[1], dtype=torch.int64, device=logits.device)
    counts.scatter_add_(0, index.flatten(), torch.ones_like(index.flatten()))
    order = index.flatten().argsort(stable=True)
    position = torch.empty_like(order)
    position[order] = torch.arange(len(order), device=order.device)
    mean = probabilities.mean(0)
    entropy = -(probabilities * probabilities.log()).sum(1).mean(), -(mean * mean.log()).sum()
    return gates, counts, counts.cumsum(0), order, position, *entropy


def routing(say: Say, sizes: Sizes) -> None:
    """Route and combine, launched one by one and as graphs."""
    from hubfast import ops

    batch, k = sizes.batch, sizes.active
    logits, spread, noise = torch.randn(3, batch, sizes.models, device="cuda")
    rows = torch.randn(batch * k, WIDTH, device="cuda")
    routes = ops.route(logits, k)

    def eager_combine(_: int) -> Tensor:
        chosen = rows[routes.position.flatten()].view(batch, k, -1)
        return (routes.gates[:, :, None] * chosen).sum(1)

    pairs: dict[str, tuple[Callable, Callable]] = {
        "route": (
            lambda _: ops.route(logits, k, spread=spread, noise=noise),
            lambda _: eager_route(logits, spread, noise, k),
        ),
        "combine": (lambda _: ops.combine(rows, routes.gates, routes.position), eager_combine),
    }
    for name, (ours, eager) in pairs.items():
        calls = {"hubfast": ours, "eager": eager}
        graphs, errors = {}, {}
        for who, call in (("hubfast graph", ours), ("eager graph", eager)):
            try:
                graphs[who] = captured(call, 20)
            except Exception as error:
                errors[who] = f"{type(error).__name__}: {error}"[:300]
        found, failed = timed(calls | graphs, sizes)
        figures = {f"pathway.{name}.{w.replace(' ', '_')}_us": 1e3 * t.ms for w, t in found.items()}
        say(what=name, ms=in_ms(found), errors=errors | failed, figures=figures)


class Fixed(nn.Module):
    """Runs a network, and sends sample b to models b and b + 1 all the same."""

    def __init__(self, network: nn.Module, batch: int, models: int):
        super().__init__()
        self.network = network
        first = torch.arange(batch) % models
        values = torch.zeros(batch, models)
        values[torch.arange(batch), first] = 60.0
        values[torch.arange(batch), (first + 1) % models] = 50.0
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


def executors(training: bool, say: Say, sizes: Sizes) -> None:
    """A step, or inference, of a whole hub by each executor; and how far its answers are apart."""
    from hubfast.pathway.gpu_executors import Graphs, Streams

    torch.backends.cudnn.benchmark = True
    hub, images, targets = _hub(training, sizes)
    kinds: dict = {"naive": naive, "loop": "loop", "dense": "dense", "streams": Streams()}
    if not training:
        kinds["graphs"] = Graphs()

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = sum(hub.losses(images, targets).values())
        loss.backward()
        hub.zero_grad(set_to_none=True)

    def infer() -> Tensor:
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            return hub(images)

    def by(kind: object) -> Callable[[int], object]:
        def call(_: int) -> object:
            hub.executor = kind
            return step() if training else infer()

        return call

    calls = {name: by(kind) for name, kind in kinds.items()}
    found, errors = timed(calls, sizes)
    part = "training" if training else "inference"
    figures = {f"pathway.{part}.{name}_ms": took.ms for name, took in found.items()}
    apart = {}
    if not training:
        exact = calls["loop"](0).float()
        apart = {n: float((calls[n](0).float() - exact).abs().max()) for n in found}
        figures["pathway.inference.apart"] = max(apart.values()) / float(exact.abs().max())
    what = f"hub {part}"
    say(what=what, ms=in_ms(found), errors=errors, apart_from_loop=apart, figures=figures)


def _hub(training: bool, sizes: Sizes):
    import timm

    from hubfast.pathway import HubPathway

    torch.manual_seed(0)
    models = [timm.create_model(sizes.network) for _ in range(sizes.models)]
    hub = HubPathway(models, sizes.active, classes=sizes.classes)
    mean = hub.generator.mean
    mean.module = Fixed(mean.module, sizes.batch, sizes.models)
    hub = hub.cuda().to(memory_format=torch.channels_last).train(training)
    images = torch.rand(sizes.batch, 3, sizes.pixels, sizes.pixels, device="cuda")
    targets = torch.arange(sizes.batch, device="cuda") % sizes.classes
    return hub, images.contiguous(memory_format=torch.channels_last), targets
