"""The layers of a Zoo-Tuning step one by one, by the device's time, and the mixing of weights."""

from collections.abc import Collection

import torch
from gpu.jobs import Say, Sizes
from gpu.shapes import Shape, gradient_of, zoo_inputs
from gpu.timing import captured, in_ms, rotating, timed
from torch import Tensor, nn


def layers(shapes: dict[Shape, int], say: Say, sizes: Sizes) -> None:
    """Device time of each layer: hubfast's, the grouped form's, a plain convolution's."""
    torch.backends.cudnn.benchmark = True
    total: dict[str, float] = {}
    for shape, count in shapes.items():
        sets = rotating(lambda s=shape: (*zoo_inputs(s, sizes), gradient_of(s, sizes)))
        calls = {}
        for who, run in {"hubfast": _ours, "grouped": _grouped, "plain": _plain}.items():
            for way in ("forward", "both"):
                call = _layer(run, shape, sets, way == "both")
                calls[f"{who} {way}"] = call
        graphs, errors = {}, {}
        for name, call in calls.items():
            try:
                graphs[name] = captured(call, len(sets))
            except Exception as error:
                errors[name] = f"{type(error).__name__}: {error}"[:300]
        found, failed = timed(graphs, sizes)
        say(what="layer", shape=shape, layers=count, ms=in_ms(found), errors=errors | failed)
        for name, took in found.items():
            who, way = name.split()
            if way == "both":
                for group in (shape.group, "all"):
                    key = f"zoo.layers.{group}.{who}_ms"
                    total[key] = total.get(key, 0.0) + count * took.ms
        del graphs, sets, calls
        torch.cuda.empty_cache()
    say(what="layers of a step", figures=total)


def _layer(run, shape: Shape, sets: list, both: bool):
    def call(turn: int) -> object:
        x, weights, gates, grad = sets[turn % len(sets)]
        if not both:
            with torch.no_grad():
                return run(x, weights, gates, shape)
        leaves = [v.detach().requires_grad_() for v in (x, weights, gates)]
        y = run(*leaves, shape)
        return torch.autograd.grad(y, leaves, grad, allow_unused=True)

    return call


def _ours(x: Tensor, weights: Tensor, gates: Tensor, shape: Shape) -> Tensor:
    from hubfast import ops
    from hubfast.zoo import plan

    size = (shape.out, shape.inside, shape.kernel, shape.kernel)
    form = plan(len(x), len(weights), size, shape.out_side**2, device="cuda")
    return ops.zoo_conv(x, weights, gates, **shape.how, form=form)


def _grouped(x: Tensor, weights: Tensor, gates: Tensor, shape: Shape) -> Tensor:
    samples = len(x)
    mixed = torch.einsum("be,eoijk->boijk", gates, weights).to(x.dtype).flatten(0, 1)
    how = (None, shape.stride, shape.kernel // 2, 1, samples)
    y = nn.functional.conv2d(x.reshape(1, -1, *x.shape[2:]), mixed, *how)
    return y.view(samples, shape.out, *y.shape[2:])


def _plain(x: Tensor, weights: Tensor, gates: Tensor, shape: Shape) -> Tensor:
    weight = weights[0].to(x.dtype)
    return nn.functional.conv2d(x, weight, None, shape.stride, shape.kernel // 2)


def aggregate(shapes: Collection[Shape], say: Say, sizes: Sizes) -> None:
    """`aggregate` and its gradients beside a copy that moves as many bytes."""
    from gpu.card import copy_time

    from hubfast import ops

    shares: dict[str, list[float]] = {"aggregate": [], "aggregate_backward": []}
    for shape in shapes:
        sets = rotating(lambda s=shape: _mixing(s, sizes))

        def forward(turn: int, backend: str | None = None, sets=sets) -> Tensor:
            weights, gates, grad = sets[turn % len(sets)]
            with torch.no_grad():
                return ops.aggregate(weights, gates, dtype=grad.dtype, backend=backend)

        def both(turn: int, backend: str | None = None, sets=sets) -> object:
            weights, gates, grad = sets[turn % len(sets)]
            leaves = [v.detach().requires_grad_() for v in (weights, gates)]
            y = ops.aggregate(*leaves, dtype=grad.dtype, backend=backend)
            return torch.autograd.grad(y, leaves, grad)

        calls = {"hubfast": forward, "hubfast both": both}
        graphs = {name: captured(call, len(sets)) for name, call in calls.items()}
        graphs["torch"] = captured(lambda turn, f=forward: f(turn, "torch"), len(sets))
        graphs["torch both"] = captured(lambda turn, f=both: f(turn, "torch"), len(sets))
        found, errors = timed(graphs, sizes)
        weights, _, grad = sets[0]
        copy = {
            "aggregate": copy_time(weights.nbytes + grad.nbytes, sizes).ms,
            "aggregate_backward": copy_time(2 * weights.nbytes + grad.nbytes, sizes).ms,
        }
        spent = {"aggregate": found["hubfast"].ms}
        spent["aggregate_backward"] = found["hubfast both"].ms - spent["aggregate"]
        share = {name: copy[name] / max(ms, 1e-9) for name, ms in spent.items()}
        row = {"ms": in_ms(found), "copy_ms": copy, "of_copy": share, "errors": errors}
        say(what="aggregate", shape=shape, **row)
        if grad.nbytes > sizes.mixed:  # smaller ones wait for their launch
            for name, value in share.items():
                shares[name].append(value)
        del graphs, sets, calls
        torch.cuda.empty_cache()
    figures = {f"zoo.{name}.of_copy": min(found) for name, found in shares.items() if found}
    say(what="aggregate beside a copy", figures=figures)


def _mixing(shape: Shape, sizes: Sizes) -> tuple[Tensor, Tensor, Tensor]:
    """Weights with a tap's input channels side by side, gates, a gradient of the mixed weights."""
    size = (shape.out, shape.kernel, shape.kernel, shape.inside)
    weights = torch.randn(sizes.models, *size, device="cuda")
    gates = torch.rand(sizes.batch, sizes.models, device="cuda")
    return weights, gates, torch.randn(sizes.batch, *size, device="cuda", dtype=torch.bfloat16)
