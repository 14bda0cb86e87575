"""Whether weights fit a module, in one line where they do not, and putting them in."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from hubfast.nn.checkpoints import is_counter, under

SHOWN = 3  # names of each kind of misfit
# What checkpoints hold beside a backbone: parts of names of heads that a model need not have.
EXTRA = {"head", "heads", "classifier", "fc", "projector", "projection", "predictor", "aux"} | {
    *("criterion", "loss", "margin", "prototypes")
}
BODY = {"norm", "bn", "embed"}  # these are no heads, whatever else their names say


@dataclass(frozen=True)
class Fit:
    """What keeps weights from fitting a module.

    Args:
        missing: Names that the module has and the weights do not.
        unknown: Names that the weights have and the module does not.
        shapes: Name, shape in the weights, shape in the module.
        unused: Names of other heads, which the module does not have; they are no misfit.
        wanted: How many names the module has.
    """

    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    shapes: tuple[tuple[str, str, str], ...]
    unused: tuple[str, ...]
    wanted: int

    def __bool__(self) -> bool:
        return not (self.missing or self.unknown or self.shapes)

    def without(self, heads: Sequence[str]) -> "Fit":
        """The same where weights of the layers `heads` may be missing or of another shape."""
        missing = tuple(name for name in self.missing if not under(name, heads))
        shapes = tuple(item for item in self.shapes if not under(item[0], heads))
        return replace(self, missing=missing, shapes=shapes)

    def __str__(self) -> str:
        told = [f"{n} is {got} in the file and {own} in the model" for n, got, own in self.shapes]
        unknown = self.unknown + self.unused
        parts = [
            f"Missing keys: {len(self.missing)} of {self.wanted} ({named(self.missing)})",
            f"Size mismatch: {len(told)} ({named(told)})",
            f"Unexpected keys: {len(unknown)} ({named(unknown)})",
        ]
        there = (self.missing, told, unknown)
        return "; ".join(part for part, names in zip(parts, there, strict=True) if names)


def fit(weights: Mapping[str, Tensor], module: nn.Module, heads: Sequence[str] = ()) -> Fit:
    """Compares names, shapes and kinds of numbers; counters such as BatchNorm's may be missing.

    Args:
        weights: Tensors by name.
        module: Where the weights shall go.
        heads: Layers that are its classifier. Where `weights` has none of these, layers that the
            module does not have are taken for a classifier by another name.
    """
    wanted = {name: x for name, x in module.state_dict().items() if not is_counter(name)}
    buffers = {name for name, _ in module.named_buffers()}  # also those that are not saved
    body = {name.partition(".")[0] for name in wanted if not under(name, heads)}
    more = [name for name in weights if name not in wanted and name not in buffers]
    headless = not any(under(name, heads) for name in weights)
    places = {head.rpartition(".")[0] for head in heads if headless} - {""}
    unused = tuple(n for n in more if under(n, places) or _is_head(n, body, headless))
    both = [(name, weights[name], x) for name, x in wanted.items() if name in weights]
    return Fit(
        missing=tuple(name for name in wanted if name not in weights),
        unknown=tuple(name for name in more if name not in unused),
        shapes=tuple((n, _said(a), _said(b)) for n, a, b in both if not same_kind(a, b)),
        unused=unused,
        wanted=len(wanted),
    )


def by_order(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], heads: Sequence[str] = ()
) -> dict[str, Tensor]:
    """The tensors of `weights` under the names of `wanted`, the first for the first, and so on.

    Args:
        weights: In the order of the layers that they come from.
        wanted: A model's state dict; counters are passed over.
        heads: Layers whose outputs may be of another number; their weights may also be missing.

    Raises:
        ValueError: The numbers of weights differ, or a shape does; the message says where.
    """
    names = [name for name in wanted if not is_counter(name)]
    if len(weights) < len(names):
        names = [name for name in names if not under(name, heads)]
    if len(weights) != len(names):
        raise ValueError(f"by order, {len(names)} weights are wanted, got {len(weights)}")
    for place, (name, (given, x)) in enumerate(zip(names, weights.items(), strict=True), 1):
        want = wanted[name]
        free = under(name, heads) and x.ndim == want.ndim and x.shape[1:] == want.shape[1:]
        if not (same_kind(x, want) or free):
            raise ValueError(
                f"by order, weight {place} is {given} {_said(x)} in the file, "
                f"{name} {_said(want)} is wanted"
            )
    return dict(zip(names, weights.values(), strict=True))


def put_in(weights: Mapping[str, Tensor], module: nn.Module) -> None:
    """Copies weights into `module`, in its own dtype; see `fit` for what must fit before.

    Names that the module does not have are passed over.
    """
    module.load_state_dict(weights, strict=False)


def named(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])


def same_kind(given: Tensor, wanted: Tensor) -> bool:
    """Whether the shapes are the same and real numbers come for real numbers."""
    real = given.is_floating_point() or not wanted.is_floating_point()
    return given.shape == wanted.shape and real


def _said(x: Tensor) -> str:
    kind = "" if x.is_floating_point() else f" of {str(x.dtype).removeprefix('torch.')}"
    return f"{tuple(x.shape)}{kind}"


def _is_head(name: str, body: Collection[str], headless: bool) -> bool:
    """Whether the first part of a name says that it is of no layer of the body."""
    part = name.partition(".")[0]
    words = set(re.split(r"[_\d]+", part.lower()))
    return part not in body and not words & BODY and (headless or bool(words & EXTRA))
