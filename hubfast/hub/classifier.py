"""Which layer of a model's graph makes its classes, told by structure whatever the format.

Each format says of a tensor what made it (`Step`); `trace` walks back from an output, and `choose`
decides between several outputs.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, NamedTuple


class Kind(Enum):
    """Kinds of what makes a tensor."""

    PASS = auto()  # treats each class for itself: layout, number types, bias, temperature
    ACTIVATION = auto()  # a nonlinearity; it ends a classifier only below a decision
    AVERAGE = auto()  # a mean over places
    SELECT = auto()  # takes some entries, of classes or of places
    SOFTMAX = auto()  # a decision between classes: also log-softmax, arg-max
    SIGMOID = auto()  # a decision for or against each class
    DENSE = auto()  # a linear layer on the last axis
    CONV = auto()  # a convolution; its channels are on axis 1 unless the step says otherwise
    OTHER = auto()  # mixes classes, or is not known


# What operators on a single tensor do.
ON_ONE_TENSOR = (
    Kind.PASS,
    Kind.ACTIVATION,
    Kind.AVERAGE,
    Kind.SELECT,
    Kind.SOFTMAX,
    Kind.SIGMOID,
)
DECISIONS = {Kind.SOFTMAX, Kind.SIGMOID}
ENDS = {Kind.DENSE, Kind.CONV, Kind.OTHER}


class Step(NamedTuple):
    """How a tensor was made."""

    kind: Kind
    before: Any = None  # the tensor it was made from
    pointwise: bool = True  # of a convolution: its kernel has one place
    channels: int = -1  # axis of the channels of `before`, of the linear layers
    also: Kind | None = None  # an activation within a linear layer


OTHER = Step(Kind.OTHER)


def kinds_of_operators(*operators: Collection[str]) -> dict[str, Kind]:
    """The kind of each operator of a format that takes one tensor.

    Args:
        operators: Names of the operators of each of ON_ONE_TENSOR, in that order.

    Raises:
        ValueError: An operator is of two kinds, or a kind has no operators given.
    """
    kinds: dict[str, Kind] = {}
    for kind, names in zip(ON_ONE_TENSOR, operators, strict=True):
        if twice := kinds.keys() & names:
            raise ValueError(f"operators must be of one kind each, got {sorted(twice)} twice")
        kinds |= dict.fromkeys(names, kind)
    return kinds


@dataclass(frozen=True)
class Head:
    """A classifier."""

    layer: Any  # the output of the linear layer
    features: Any  # what enters it
    logits: Any | None  # what is given to a softmax; None behind sigmoids
    channels: int  # axis of the features' channels
    soft: bool = False  # the softmax is within the layer: `logits` are probabilities


@dataclass(frozen=True)
class Trace:
    """What the walk back from an output found."""

    output: Any
    head: Head | None
    decided: bool  # the output is a decision, or the probabilities of one


def trace(
    output: Any, step_of: Callable[[Any], Step], one_place: Callable[[Any, int], bool]
) -> Trace:
    """Walks back from `output` to the linear layer that makes its classes.

    A linear layer below an activation alone is one of a network without a classifier, and so is a
    convolution over several places, unless a softmax or sigmoid behind it says that its channels
    are classes.

    Args:
        output: A tensor.
        step_of: Tells how a tensor was made.
        one_place: Tells whether a tensor has one place only, its channels on the axis given.
    """
    passed: set[Kind] = set()
    tensor = logits = output
    step = step_of(tensor)
    while True:
        kind = step.also or step.kind
        if kind in DECISIONS:
            logits = step.before
        passed.add(kind)
        if step.kind in ENDS:
            break
        tensor = step.before
        step = step_of(tensor)
    decided = bool(passed & DECISIONS)
    if step.kind is Kind.OTHER or not (decided or Kind.ACTIVATION not in passed):
        return Trace(output, None, decided)
    spread = Kind.SELECT in passed
    if step.kind is Kind.CONV and not decided:
        spread = spread or Kind.AVERAGE not in passed or not step.pointwise
    if spread and not one_place(tensor, step.channels):
        return Trace(output, None, decided)
    inside = step.also in DECISIONS
    classes = None if Kind.SIGMOID in passed else tensor if inside else logits
    return Trace(output, Head(tensor, step.before, classes, step.channels, inside), decided)


@dataclass(frozen=True)
class Choice:
    """What a model gives as features, and what its user should know of that."""

    output: Any
    head: Head | None  # None: the output itself is the features
    notes: tuple[str, ...] = ()


def choose(
    traces: Sequence[Trace],
    before: Callable[[Any], Iterable[Any]],
    name: Callable[[Any], str],
    path: Any,
) -> Choice:
    """Chooses the output whose classifier gives the features.

    Args:
        traces: One per output, in order.
        before: The tensors that a tensor was made from, each always the same object.
        name: Gives the name of a tensor, for messages.
        path: The model's file, for messages.

    Raises:
        ValueError: All outputs are classes, and no layer that makes them was found: features
            cannot be told from logits.
    """
    found = [(t, t.head) for t in traces if t.head is not None]
    heads = [
        t for t, own in found if not any(_enters(own.layer, b.features, before) for _, b in found)
    ]
    if heads:
        return _of_heads(heads, name)
    outputs = [name(t.output) for t in traces]
    free = [t for t in traces if not t.decided]
    if not free:
        raise ValueError(
            f"the output {outputs[0]!r} of {path} is classes, and the linear layer that makes them "
            "was not found: features cannot be told from logits; save the model without its "
            "classifier"
        )
    said = f"no classifier seen in the file: the features are its output {name(free[0].output)!r}"
    said += f", of {outputs}" if len(outputs) > 1 else ""
    return Choice(free[0].output, None, (f"{said}, averaged over places",))


def _enters(tensor: Any, other: Any, before: Callable[[Any], Iterable[Any]]) -> bool:
    """The tensor is `other`, or contributes to it."""
    seen, left = {id(other)}, [other]
    while left:
        found = left.pop()
        if found is tensor:
            return True
        new = [made for made in before(found) if id(made) not in seen]
        seen.update(map(id, new))
        left += new
    return False


def _of_heads(traces: list[Trace], name: Callable[[Any], str]) -> Choice:
    heads = [t.head for t in traces if t.head is not None]
    first = heads[0]
    same = [head for head in heads if head.features is first.features]
    if len(same) < len(heads):
        others = [name(t.output) for t in traces if t.head not in same]
        note = (
            f"several classifiers: the features are those of output {name(traces[0].output)!r}, "
            f"not of {others}"
        )
        return Choice(traces[0].output, first, (note,))
    if any(head.layer is not first.layer for head in heads):
        note = f"{len(heads)} classifiers on the same features: no source probabilities"
        return Choice(traces[0].output, replace(first, logits=None), (note,))
    best = next((head for head in heads if head.logits is not None), first)
    return Choice(traces[0].output, best)
