"""The choices that hubfast's kernels leave open, measured: tiles, forms, chunks of samples.

A row with a field `choice` names a table, its key, what hubfast takes by itself, the times of the
candidates and the winner: who beats hubfast's own choice by more than the repeats differ.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from gpu.jobs import Say, Sizes
from gpu.shapes import Shape, gradient_of, zoo_inputs
from gpu.timing import Timing, captured, faster, in_ms, rotating, timed
from torch import Tensor

OWN = "own"  # what hubfast takes without a table
SIDES = (1, 2, 4, 7, 10, 14)  # of maps, for the forms


def say_choice(
    say: Say, table: str, key: str, values: dict[str, Any], times: dict[str, Timing], **more: object
) -> None:
    """Says which of the candidates won.

    Args:
        values: What would stand in the table for each candidate.
        times: Of each candidate and of `OWN`.
    """
    winner = faster(times, OWN)
    choice = {"table": table, "key": key, "winner": winner, "value": values.get(winner)}
    gain = times[OWN].ms / times[winner].ms if OWN in times else None
    say(what="choice", choice=choice, gain=gain, ms=in_ms(times), **more)


def tiles(shapes: dict[Shape, int], say: Say, sizes: Sizes) -> None:
    """The tile of each pass of each convolution that has a kernel of its own."""
    from hubfast.kernels import tiles as known

    for shape in sorted(shapes, key=lambda s: -shapes[s] * s.flops(1)):
        sets = rotating(lambda s=shape: _passed(s, sizes))
        for name, call in _passes(shape, sets).items():
            with asked() as questions:
                call(None, 0)
            for table, key in sorted(questions):
                candidates: dict[str, Any] = {OWN: None}
                candidates |= {str(list(tile)): tile for tile in known.CANDIDATES[table]}
                graphs, errors = {}, {}
                for label, tile in candidates.items():
                    try:
                        graphs[label] = captured(partial(call, tile), len(sets))
                    except Exception as error:
                        errors[label] = f"{type(error).__name__}: {error}"[:300]
                times, failed = timed(graphs, sizes)
                values = {label: list(tile) for label, tile in candidates.items() if tile}
                where = {"shape": shape, "product": name, "errors": errors | failed}
                say_choice(say, table, key, values, times, **where)
        del sets
        torch.cuda.empty_cache()


@contextmanager
def asked() -> Iterator[set[tuple[str, str]]]:
    """Notes the tables and the keys of the tiles that launches ask for."""
    from hubfast.kernels import sample_conv, sample_conv_backward, tiles

    found: set[tuple[str, str]] = set()

    def choose(kernel: Any, product: Any, *where: Any) -> Any:
        found.add((kernel, product.key))
        return tiles.choose(kernel, product, *where)

    modules = (sample_conv, sample_conv_backward)
    before = [module.choose for module in modules]
    for module in modules:
        module.choose = choose
    try:
        yield found
    finally:
        for module, one in zip(modules, before, strict=True):
            module.choose = one


def _passed(shape: Shape, sizes: Sizes) -> tuple[Tensor, ...]:
    """x, mixed weights with a tap's channels side by side, the result's gradient; and results."""
    x, *_ = zoo_inputs(shape, sizes)
    size = (sizes.batch, shape.out, shape.kernel, shape.kernel, shape.inside)
    weight = torch.randn(size, device="cuda", dtype=x.dtype).movedim(-1, 2)
    given = (x, weight, gradient_of(shape, sizes))
    return *given, *(torch.empty_like(tensor) for tensor in given)


def _passes(shape: Shape, sets: list) -> dict[str, Callable[[Any, int], None]]:
    """A call of each pass, which takes a tile and the number of its turn."""
    from hubfast.kernels import sample_conv as forward
    from hubfast.kernels import sample_conv_backward as backward
    from hubfast.ops.reference import Geometry

    geometry = Geometry(shape.how["stride"], shape.how["padding"], (1, 1))

    def result(tile: Any, turn: int) -> None:
        x, weight, _, _, _, y = sets[turn % len(sets)]
        forward.convolve_into(x, weight, y, geometry, tile=tile)

    def input_gradient(tile: Any, turn: int) -> None:
        _, weight, grad, dx, _, _ = sets[turn % len(sets)]
        forward.input_gradient_into(grad, weight, dx, geometry, tile=tile)

    def weight_gradient(tile: Any, turn: int) -> None:
        x, _, grad, _, dw, _ = sets[turn % len(sets)]
        backward.weight_gradient_into(grad, x, dw, geometry, tile=tile)

    passes = {"forward": result, "weight gradient": weight_gradient}
    if shape.group != "stem":  # images have no gradient
        passes["input gradient"] = input_gradient
    return passes


def forms(say: Say, sizes: Sizes) -> None:
    """Where M-fold products win: what the planner's two costs are on this card."""
    from hubfast import ops

    seen = []
    for side in SIDES:
        shape = Shape(sizes.channels, sizes.channels, 3, 1, side)
        sets = rotating(lambda s=shape: (*zoo_inputs(s, sizes), gradient_of(s, sizes)))

        def call(turn: int, form: str, shape=shape, sets=sets) -> object:
            *given, grad = sets[turn % len(sets)]
            leaves = [v.detach().requires_grad_() for v in given]
            y = ops.zoo_conv(*leaves, **shape.how, form=form)
            return torch.autograd.grad(y, leaves, grad)

        names = ("mix", "concatenate", "separate")
        calls = {form: (lambda turn, f=form, c=call: c(turn, f)) for form in names}
        times, errors = timed(calls, sizes)
        say(what="zoo_conv forms", shape=shape, ms=in_ms(times), errors=errors)
        if {"mix", "concatenate"} <= set(times):
            seen.append((side**2, times["mix"], times["concatenate"]))
        del sets, calls
        torch.cuda.empty_cache()
    say(what="forms beside the planner", **planned(seen, sizes.models))


def planned(seen: list[tuple[int, Timing, Timing]], models: int) -> dict[str, Any]:
    """The planner's costs that fit the times of both forms best, if they tell every winner.

    Args:
        seen: Pixels, the time of "mix", the time of "concatenate".
        models: M.
    """
    from hubfast.zoo.planner import COSTS

    def wrong(traffic: float, product: float) -> tuple[int, float]:
        """How many clear winners the costs miss, and how far they are from the ratios."""
        missed, away = 0, 0.0
        for pixels, mix, together in seen:
            ratio = models * pixels * product / (pixels + traffic)  # concatenate over mix
            measured = together.ms / mix.ms
            apart = mix.high < together.low or together.high < mix.low
            missed += apart and (ratio > 1) != (measured > 1)
            away += math.log(ratio / measured) ** 2
        return missed, away

    own = tuple(COSTS["cuda"])
    candidates = [(t, p / 20) for t in range(10, 1000, 10) for p in range(4, 81)] if seen else []
    best = min(candidates, key=lambda costs: wrong(*costs), default=own)
    value = dict(zip(("traffic", "product"), best, strict=True))
    missed = {"fit": wrong(*best)[0], "own": wrong(*own)[0]}
    found: dict[str, Any] = {"costs": value, "missed": missed}
    found["figures"] = {"zoo.forms.missed_by_planner": missed["own"]}
    if missed["fit"] == 0 and missed["own"]:
        found["choice"] = {"table": "plan", "key": None, "winner": "fit", "value": value}
    return found
