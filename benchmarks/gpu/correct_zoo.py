"""Zoo-Tuning's kernels against float64 on the same rounded inputs, and their compiled code cached.

An error counts in multiples of torch's own in the same dtype. The shapes are a network's, so that
what is measured afterwards is compiled already.
"""

from collections.abc import Callable
from functools import partial

import torch
from gpu.errors import error, poison, times_torchs
from gpu.jobs import Job, Say, Sizes
from gpu.shapes import Shape, gradient_of, zoo_inputs
from torch import Tensor

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
ODD = (
    Shape(5, 7, 3, 1, 9),
    Shape(17, 33, 3, 2, 11),
    Shape(40, 24, 1, 1, 5),
    Shape(16, 16, 5, 1, 1),
)


def jobs(shapes: dict[Shape, int], few: dict[str, Shape]) -> list[Job]:
    """All shapes in bfloat16, those of `few` and odd ones in every dtype, and `aggregate`."""
    wanted = [(shape, "bf16") for shape in shapes]
    wanted += [(shape, name) for shape in few.values() for name in ("fp16", "fp32")]
    wanted += [(shape, name) for shape in ODD for name in DTYPES]
    found = [
        Job(f"correct.zoo_conv.{name}.{shape.name}", partial(zoo_conv, shape, name), 90, False)
        for shape, name in dict.fromkeys(wanted)
    ]
    parts = {"aggregate": aggregate, "sample_conv": sample_conv}
    for part, run in parts.items():
        found += [Job(f"correct.{part}.{name}", partial(run, name), 90, False) for name in DTYPES]
    return [*found, Job("correct.large", large, 60, False)]


def zoo_conv(shape: Shape, name: str, say: Say, sizes: Sizes) -> None:
    """Result and gradients of `ops.zoo_conv`."""
    from hubfast import ops
    from hubfast.ops import reference

    dtype = DTYPES[name]
    x, weights, gates = zoo_inputs(shape, sizes, dtype)
    grad = gradient_of(shape, sizes, dtype)
    geometry = reference.Geometry(shape.how["stride"], shape.how["padding"], (1, 1))

    def with_gradients(run: Callable, given: tuple[Tensor, ...], d_y: Tensor) -> list[Tensor]:
        leaves = [v.detach().requires_grad_() for v in given]
        y = run(*leaves)
        return [y.detach(), *torch.autograd.grad(y, leaves, d_y.to(y.dtype))]

    given = (x, weights, gates)
    wide = tuple(v.double() for v in given)
    exact = with_gradients(lambda *v: reference.zoo_conv(*v, geometry), wide, grad.double())
    found = {}
    for backend in (None, "torch"):
        poison(sizes.poison)
        found[backend] = with_gradients(
            lambda *v, b=backend: ops.zoo_conv(*v, **shape.how, backend=b), given, grad
        )
    names = ("y", "d_x", "d_weights", "d_gates")
    compared(say, "zoo_conv", name, dtype, names, found[None], found["torch"], exact, shape=shape)


def sample_conv(name: str, say: Say, sizes: Sizes) -> None:
    """Result and gradients of `ops.sample_conv` with channels first and last, odd sizes."""
    from hubfast import ops
    from hubfast.ops import reference

    dtype = DTYPES[name]
    for shape in ODD:
        geometry = reference.Geometry(shape.how["stride"], shape.how["padding"], (1, 1))
        size = (3, shape.out, shape.inside, shape.kernel, shape.kernel)
        x = torch.randn(3, shape.inside, shape.side, shape.side, device="cuda", dtype=dtype)
        weight = torch.randn(size, device="cuda", dtype=dtype)
        grad = torch.randn(3, shape.out, shape.out_side, shape.out_side, device="cuda", dtype=dtype)
        wide = (x.double(), weight.double())
        exact = [
            reference.sample_conv(*wide, geometry),
            *reference.sample_conv_backward(grad.double(), *wide, geometry),
        ]
        for layout in (torch.contiguous_format, torch.channels_last):
            found = []
            for backend in (None, "torch"):
                poison(sizes.poison)
                leaves = [x.contiguous(memory_format=layout).requires_grad_()]
                leaves.append(weight.detach().requires_grad_())
                y = ops.sample_conv(*leaves, **shape.how, backend=backend)
                found.append([y.detach(), *torch.autograd.grad(y, leaves, grad)])
            names = ("y", "d_x", "d_weight")
            compared(
                say,
                "sample_conv",
                name,
                dtype,
                names,
                *found,
                exact,
                shape=shape,
                layout=str(layout),
            )


def aggregate(name: str, say: Say, sizes: Sizes) -> None:
    """Result and gradients of `ops.aggregate`, to and from a dtype, of even and odd sizes."""
    from hubfast import ops
    from hubfast.ops import reference

    dtype = DTYPES[name]
    for models, batch, count in ((5, 48, 36864), (5, 48, 2359296), (1, 1, 7), (3, 50, 4099)):
        count = min(count, sizes.large)
        for stored in dict.fromkeys((torch.float32, dtype)):
            weights = torch.randn(models, count, device="cuda", dtype=stored)
            gates = torch.rand(batch, models, device="cuda")
            grad = torch.randn(batch, count, device="cuda", dtype=dtype)
            wide = (weights.double(), gates.double())
            exact = [
                reference.aggregate(*wide, torch.float64),
                *reference.aggregate_backward(grad.double(), *wide),
            ]
            found = []
            for backend in (None, "torch"):
                poison(sizes.poison)
                leaves = [weights.detach().requires_grad_(), gates.detach().requires_grad_()]
                y = ops.aggregate(*leaves, dtype=dtype, backend=backend)
                found.append([y.detach(), *torch.autograd.grad(y, leaves, grad)])
            shape = (models, batch, count, str(stored))
            names = ("y", "d_weights", "d_gates")
            compared(say, "aggregate", name, dtype, names, *found, exact, shape=shape)
            del weights, grad, exact, found


def large(say: Say, sizes: Sizes) -> None:
    """`aggregate` and its gradients where offsets pass 2^31: the last weights are right."""
    from hubfast import ops

    models, tail = 3, 4096
    weights = torch.randn(models, sizes.large, device="cuda", dtype=torch.bfloat16)
    gates = torch.rand(2, models, device="cuda")
    poison(sizes.poison)
    with torch.no_grad():
        y = ops.aggregate(weights, gates)
    exact = gates.double() @ weights[:, -tail:].double()
    away = error(y[:, -tail:], exact)
    eps = torch.finfo(torch.bfloat16).eps
    say(what="aggregate beyond 2^31", weights=sizes.large, error=away)
    say(what="correct", figures={"correct.large": away / eps})


def compared(
    say: Say,
    op: str,
    name: str,
    dtype: torch.dtype,
    names: tuple[str, ...],
    ours: list[Tensor],
    torchs: list[Tensor],
    exact: list[Tensor],
    **more: object,
) -> None:
    """Says the errors of each result, and the worst in multiples of torch's."""
    our = {n: error(v, e) for n, v, e in zip(names, ours, exact, strict=True)}
    their = {n: error(v, e) for n, v, e in zip(names, torchs, exact, strict=True)}
    ratio = {n: times_torchs(our[n], their[n], dtype) for n in names}
    say(
        what="correct",
        op=op,
        dtype=name,
        error=our,
        torchs_error=their,
        times_torchs=ratio,
        figures={f"correct.{op}.{name}": max(ratio.values())},
        **more,
    )
