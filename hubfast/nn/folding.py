"""BatchNorm folded into the convolutions before it, for modules that only run."""

import gc
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Layers that compute what their parameters say. Classes derived from these may do more, such as to
# standardise their weights first, and are left alone.
CONVOLUTIONS = {f"torch.nn.modules.conv.Conv{d}d" for d in (1, 2, 3)} | {
    "timm.layers.conv2d_same.Conv2dSame"
}
NORMS = {f"torch.nn.modules.batchnorm.BatchNorm{d}d" for d in (1, 2, 3)} | {
    "timm.layers.norm_act.BatchNormAct2d"  # its children are what it does behind the BatchNorm
}


class Pair(NamedTuple):
    """A convolution and the BatchNorm that takes its output."""

    conv: nn.Module
    norm: nn.Module


@torch.no_grad()
def fold_norms(module: nn.Module, images: Tensor) -> int:
    """Folds, in place, every BatchNorm that can be into the convolution before it.

    `module` must not be trained after; names of its state change. Features stay the same to
    rounding.

    Args:
        module: A module in eval mode.
        images: An input that it takes; one image is enough. What goes where is seen by running it.

    Returns:
        How many were folded.
    """
    pairs = conv_norm_pairs(module, images)
    return sum(_fold(module, pair) for pair in pairs)


def is_of(part: nn.Module, kinds: Collection[str]) -> bool:
    """Whether `part` is of one of these classes itself, and of none derived from them."""
    return f"{type(part).__module__}.{type(part).__qualname__}" in kinds


@torch.no_grad()
def conv_norm_pairs(module: nn.Module, images: Tensor) -> list[Pair]:
    """Pairs that can be folded, as a run of `module` in eval mode on `images` shows them.

    A pair counts if each of the two runs once, the output of the convolution is used by the
    BatchNorm and by no other operation, and is kept by nobody, and the weights of both are used
    once. Layers with hooks are left out, so are weights that are no float32 or float64.
    """
    convs = [part for part in module.modules() if _is_plain(part, CONVOLUTIONS)]
    norms = [part for part in module.modules() if _is_plain(part, NORMS) and _is_fixed(part)]
    if not convs or not norms:
        return []
    with _Watch(convs, norms) as seen:
        kept = module(images)
    pairs = list(seen.pairs())
    del kept
    return pairs


def _fold(module: nn.Module, pair: Pair) -> bool:
    """Folds one pair unless a weight would not be finite; what is more in the norm stays there."""
    conv: Any = pair.conv
    norm: Any = pair.norm
    folded = _folded(conv, norm)
    if not all(x.isfinite().all() for x in folded):
        return False
    conv.weight, conv.bias = (nn.Parameter(x, requires_grad=False) for x in folded)
    rest = [part for part in norm.children() if not isinstance(part, nn.Identity)]
    put = nn.Identity() if not rest else rest[0] if len(rest) == 1 else nn.Sequential(*rest)
    put.train(norm.training)
    names = [name for name, x in module.named_modules(remove_duplicate=False) if x is norm]
    for name in names:
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, put)
    return True


def _folded(conv: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution that does what both do, in the weight's type."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    weight = conv.weight.double() * scale.reshape(-1, *[1] * (conv.weight.ndim - 1))
    bias = (
        -norm.running_mean.double() if conv.bias is None else conv.bias.double() - norm.running_mean
    )
    bias = scale * bias
    if norm.bias is not None:
        bias = bias + norm.bias
    return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)


class _Output:
    """An output of a convolution: how many operations take it, and whether somebody keeps it."""

    def __init__(self, conv: nn.Module, x: Tensor):
        self.conv, self.uses = conv, 0
        self._x: ReferenceType[Tensor] = ref(x)

    def is_(self, x: Tensor) -> bool:
        return self._x() is x

    @property
    def kept(self) -> bool:
        return self._x() is not None


class _Watch(TorchDispatchMode):
    """While it is open: counts what uses the outputs of convolutions and the weights of layers.

    Hooks are on the layers that are watched and the mode holds for this thread: modules that run
    in other threads are not concerned.
    """

    def __init__(self, convs: Sequence[nn.Module], norms: Sequence[nn.Module]):
        super().__init__()
        self.convs, self.norms = convs, norms
        self._runs: Counter[nn.Module] = Counter()
        self._uses: Counter[int] = Counter({id(x): 0 for m in (*convs, *norms) for x in _own(m)})
        self._outputs: dict[int, _Output] = {}  # the latest one at each address
        self._taken: dict[nn.Module, _Output] = {}  # by the BatchNorm that takes it

    def __enter__(self) -> "_Watch":
        with ExitStack() as hooks:
            for conv in self.convs:
                hooks.callback(conv.register_forward_hook(self._made).remove)
            for norm in self.norms:
                hooks.callback(norm.register_forward_pre_hook(self._take).remove)
            self._hooks = hooks.pop_all()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()
        super().__exit__(*error)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        for x in tree_leaves((args, kwargs)):
            if not isinstance(x, Tensor):
                continue
            if id(x) in self._uses:
                self._uses[id(x)] += 1
            output = self._output(x)
            if output is not None:
                output.uses += 1
        return func(*args, **(kwargs or {}))

    def pairs(self) -> Iterator[Pair]:
        """Must be called while what the module gave is still held."""
        if any(output.kept for output in self._taken.values()):
            gc.collect()  # else it would hang on chance what is garbage and not yet collected
        for norm, output in self._taken.items():
            pair = Pair(output.conv, norm)
            once = all(self._runs[part] == 1 for part in pair) and output.uses == 1
            alone = all(self._uses[id(x)] == 1 for part in pair for x in _own(part))
            if once and alone and not output.kept:
                yield pair

    def _made(self, conv: nn.Module, args: Any, out: Tensor) -> None:
        self._runs[conv] += 1
        self._outputs[id(out)] = _Output(conv, out)

    def _take(self, norm: nn.Module, args: tuple[Any, ...]) -> None:
        self._runs[norm] += 1
        output = self._output(args[0]) if len(args) == 1 else None
        if output is not None:
            self._taken[norm] = output

    def _output(self, x: Any) -> _Output | None:
        output = self._outputs.get(id(x))
        return output if output is not None and output.is_(x) else None


def _own(layer: Any) -> list[Tensor]:
    """What a convolution or BatchNorm computes with."""
    names = ("weight", "bias", "running_mean", "running_var")
    return [x for name in names if (x := getattr(layer, name, None)) is not None]


def _is_plain(part: nn.Module, kinds: Collection[str]) -> bool:
    """Whether a layer is of one of `kinds` and nobody has changed what it does."""
    changed = part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part)
    if not is_of(part, kinds) or changed:
        return False
    return all(x.dtype in (torch.float32, torch.float64) for x in _own(part))


def _is_fixed(norm: Any) -> bool:
    """Whether a BatchNorm uses statistics of its own, and not those of the batch."""
    return not norm.training and norm.running_mean is not None and norm.running_var is not None
