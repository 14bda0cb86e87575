"""Hub-Pathway's kernels against float64, and what they choose against the specification."""

from collections.abc import Callable
from functools import partial

import torch
from gpu.correct_zoo import DTYPES, compared
from gpu.errors import poison
from gpu.jobs import Job, Say, Sizes
from gpu.timing import captured
from torch import Tensor

CASES = (
    (48, 5, 2, True),
    (1, 1, 1, False),
    (50, 5, 5, True),
    (333, 64, 3, False),
)  # B, M, k, noisy


def jobs() -> list[Job]:
    """Route, dispatch and combine in each dtype, and captured in a graph."""
    parts = {"route": route, "dispatch": dispatch, "combine": combine}
    found = []
    for part, run in parts.items():
        for name in DTYPES:
            gives = (f"correct.{part}.{name}", f"correct.{part}_maps.{name}")
            found.append(Job(f"correct.{part}.{name}", partial(run, name), 90, False, gives))
    return [*found, Job("correct.route_captured", in_graph, 60, False)]


def route(name: str, say: Say, sizes: Sizes) -> None:
    """Gates, probabilities, entropy with their gradients; the maps must be equal."""
    from hubfast import ops

    dtype = DTYPES[name]
    for batch, models, k, noisy in CASES:
        logits, spread, noise = torch.randn(3, batch, models, device="cuda", dtype=dtype)

        def run(wide: bool, backend: str | None, given=(logits, spread, noise), k=k, noisy=noisy):
            kind = torch.float64 if wide else given[0].dtype
            leaves = [x.to(kind).requires_grad_() for x in given[: 2 if noisy else 1]]
            more = {"spread": leaves[1], "noise": given[2].to(kind)} if noisy else {}
            poison(sizes.poison)
            routes = ops.route(leaves[0], k, **more, backend=backend)
            floats = [routes.gates, routes.probabilities, routes.entropy]
            weights = [torch.arange(1.0, x.numel() + 1, device="cuda").view_as(x) for x in floats]
            loss = sum((x * w / w.numel()).sum() for x, w in zip(floats, weights, strict=True))
            gradients = torch.autograd.grad(loss, leaves)
            return routes, [x.detach() for x in (*floats, *gradients)]

        routes, ours = run(False, None)
        _, torchs = run(False, "torch")
        exactly, exact = run(True, "torch")
        maps = ("chosen", "counts", "offsets", "order", "position")
        unequal = [m for m in maps if not torch.equal(getattr(routes, m), getattr(exactly, m))]
        names = ("gates", "probabilities", "entropy", "d_logits", "d_spread")[: len(exact)]
        shape = (batch, models, k, noisy)
        single = torch.float32 if dtype == torch.float32 else dtype
        compared(say, "route", name, single, names, ours, torchs, exact, shape=shape)
        say(what="correct", figures={f"correct.route_maps.{name}": len(unequal)}, unequal=unequal)


def dispatch(name: str, say: Say, sizes: Sizes) -> None:
    """Rows of images and their gradients, in both layouts."""
    from hubfast import ops

    routes = ops.route(torch.randn(sizes.batch, sizes.models, device="cuda"), sizes.active)
    images = torch.randn(sizes.batch, 3, sizes.pixels, sizes.pixels, device="cuda")
    for layout in (torch.contiguous_format, torch.channels_last):

        def run(x: Tensor, backend: str | None, layout=layout) -> list[Tensor]:
            leaf = x.contiguous(memory_format=layout).requires_grad_()
            poison(sizes.poison)
            rows = ops.dispatch(leaf, routes, backend=backend)
            (gradient,) = torch.autograd.grad(rows, leaf, rows.detach())
            return [rows.detach(), gradient]

        _three(say, "dispatch", name, ("rows", "d_batch"), run, images, str(layout))


def combine(name: str, say: Say, sizes: Sizes) -> None:
    """Weighted sums of rows and their gradients."""
    from hubfast import ops

    routes = ops.route(torch.randn(sizes.batch, sizes.models, device="cuda"), sizes.active)
    for width in (1, 100, 1000, 2049):
        rows = torch.randn(sizes.batch * sizes.active, width, device="cuda")

        def run(x: Tensor, backend: str | None) -> list[Tensor]:
            leaves = [x.detach().requires_grad_(), routes.gates.to(x.dtype).requires_grad_()]
            poison(sizes.poison)
            out = ops.combine(*leaves, routes.position, backend=backend)
            return [out.detach(), *torch.autograd.grad(out, leaves, out.detach())]

        _three(say, "combine", name, ("out", "d_rows", "d_gates"), run, rows, f"width {width}")


def _three(
    say: Say,
    op: str,
    name: str,
    names: tuple[str, ...],
    run: Callable[[Tensor, str | None], list[Tensor]],
    x: Tensor,
    shape: str,
) -> None:
    """Ours, torch's and the exact result of an op."""
    x = x.to(DTYPES[name])
    found = [run(x, None), run(x, "torch"), run(x.double(), "torch")]
    compared(say, op, name, x.dtype, names, *found, shape=shape)


def in_graph(say: Say, sizes: Sizes) -> None:
    """A captured route gives what the same route gives without a graph."""
    from hubfast import ops

    logits = torch.randn(sizes.batch, sizes.models, device="cuda")
    kept: list = []

    def call(_: int) -> None:
        kept[:] = ops.route(logits, sizes.active)

    graph = captured(call)
    logits.copy_(torch.randn_like(logits))
    graph(0)
    wanted = ops.route(logits, sizes.active)
    unequal = sum(not torch.equal(a, b) for a, b in zip(kept, wanted, strict=True))
    say(what="correct", figures={"correct.route_captured": unequal})
