"""How an op is made known to torch: one template for every op of hubfast.

An op is a function of tensors and plain values, known as `torch.ops.hubfast.NAME`: torch.compile
and export take it whole, autograd and counters see it. Ops are defined by `torch.library.Library`.
`torch.library.custom_op` costs more per call, and its first call imports torch._dynamo.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active as transforming
from torch._C import _AutoDispatchBelowADInplaceOrView as below_versions
from torch._C import _AutoDispatchBelowAutograd as below_autograd
from torch.autograd import forward_ad

LIBRARY = torch.library.Library("hubfast", "FRAGMENT")

Function = Callable[..., Any]
Setup = Callable[[Any, tuple, Any], None]


def register(
    name: str,
    *,
    fake: Function,
    setup: Setup | None = None,
    backward: Function | None = None,
    mutates: tuple[str, ...] = (),
) -> Callable[[Function], Function]:
    """Registers the decorated function as `torch.ops.hubfast.NAME`, and returns that op.

    The function's outputs must alias neither its inputs nor each other; opcheck looks. Its first
    argument is a tensor. It runs with that tensor's device as the current one, which Triton
    launches on, and tensors of other devices are refused. The op has no derivative forward, and
    backward only with `backward`; each that is missing raises where it is asked for.

    Args:
        name: What the op is called.
        fake: Takes the same arguments and returns empty outputs of the same shapes, dtypes and
            strides.
        setup: `setup(ctx, inputs, output)` keeps on `ctx` what `backward` needs.
        backward: `backward(ctx, *grads)` returns one gradient, or None, per argument.
        mutates: Arguments that are written in place; no argument may then require a gradient.
    """

    def decorate(function: Function) -> Function:
        schema = torch.library.infer_schema(function, mutates_args=mutates)
        LIBRARY.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
        op = getattr(torch.ops.hubfast, name).default
        checked = _one_device(op)
        LIBRARY.impl(name, _implementation(function, checked), "CompositeExplicitAutograd")
        torch.library.register_fake(op.name(), _after(checked, fake), lib=LIBRARY)
        LIBRARY.impl(name, _autograd(op, setup, backward), "Autograd")
        if mutates:
            LIBRARY.impl(name, _versions(op, mutates), "ADInplaceOrView")
        return op

    return decorate


def _one_device(op: Any) -> Callable[[tuple], torch.device]:
    """A check that all tensors among an op's arguments are where the first is; returns where."""
    given = enumerate(op._schema.arguments)
    tensors = [(i, x.name) for i, x in given if "Tensor" in str(x.type)]
    name, (_, first), others = op.name(), tensors[0], tensors[1:]

    def check(args: tuple) -> torch.device:
        device: torch.device = args[0].device
        for i, argument in others:
            x = args[i]
            if x is not None and x.device != device:
                raise ValueError(
                    f"{name}: {argument} must be on {device} as {first} is, got {x.device}"
                )
        return device

    return check


def _after(check: Callable[[tuple], Any], function: Function) -> Function:
    def call(*args: Any) -> Any:
        check(args)
        return function(*args)

    return call


def _implementation(function: Function, check: Callable[[tuple], torch.device]) -> Function:
    """The function on its tensors' device, and hidden from torch.compile where that is loaded."""
    hidden: Function | None = None

    def call(*args: Any) -> Any:
        nonlocal hidden
        run = function
        if "torch._dynamo" in sys.modules:  # or nothing can be tracing; it is slow to import
            run = hidden = hidden or torch.compiler.disable(function)
        device = check(args)
        if device.type != "cuda":
            return run(*args)
        with torch.cuda.device(device):
            return run(*args)

    return call


def _autograd(op: Any, setup: Setup | None, backward: Function | None) -> Function:
    """What autograd calls in place of the op."""
    node = _node(op, setup, backward)

    def call(*args: Any) -> Any:
        if forward_ad._current_level >= 0:
            _refuse_tangents(op, args)
        if not torch.is_grad_enabled() or not torch._C._any_requires_grad(*args):
            with below_autograd():
                return op(*args)
        if op._schema.is_mutable:
            raise RuntimeError(f"{op.name()} writes in place and has no derivative")
        if not transforming():
            return node.apply(*args)
        from torch._functorch.autograd_function import enable_single_level_autograd_function

        with enable_single_level_autograd_function():
            return node.apply(*args)

    return call


def _node(op: Any, setup: Setup | None, backward: Function | None) -> Any:
    """The op as a function of autograd's, of the kind that each level of torch.func takes."""

    def forward(ctx: Any, *args: Any) -> Any:
        # For autograd this is the op itself; for torch.func, whose next level is below.
        with below_autograd(), _differentiating() if transforming() else nullcontext():
            output = op(*args)
        if setup is not None:
            setup(ctx, args, output)
        return output

    def without(*_: Any) -> None:
        name = op.name().removesuffix("_backward")
        which = "derivative" if name == op.name() else "second derivative"
        raise RuntimeError(f"{name} has no {which}")

    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward or without)}
    return type(op._opname, (torch.autograd.function._SingleLevelFunction,), methods)


@contextmanager
def _differentiating() -> Iterator[None]:
    """Undoes what autograd switches off while a function of its runs."""
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
        yield


def _refuse_tangents(op: Any, args: tuple) -> None:
    for x in args:
        if isinstance(x, Tensor) and forward_ad.unpack_dual(x).tangent is not None:
            raise NotImplementedError(
                f"{op.name()} has no forward-mode derivative; differentiate it backward"
            )


def _versions(op: Any, mutates: tuple[str, ...]) -> Function:
    """What tells autograd that arguments were written in place."""
    names = [x.name for x in op._schema.arguments]
    written = [names.index(name) for name in mutates]

    def call(*args: Any) -> Any:
        for i in written:
            torch.autograd.graph.increment_version(args[i])
        with below_versions():
            return op(*args)

    return call
