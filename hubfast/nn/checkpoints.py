"""Finds state dicts in checkpoints, wherever training scripts, wrappers and trainers put them."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from hubfast.nn.weight_files import Placeholder

# Parts of names that wrappers add: in this order DataParallel and weight averaging, torch.compile,
# FSDP, activation checkpointing.
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# The last parts of the names of entries that count something and are no weights.
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
# Where several sets of weights fit a model, the set is taken whose name has the earliest of these
# words: averaged weights, then a self-distilled model's teacher, then the query network of momentum
# contrast.
PREFERRED = ("ema", "averaged", "swa", "teacher", "encoder_q", "online")
DEPTH = 4  # levels of nested dictionaries that are searched
WEIGHTS_ONLY = (
    "files are read as weights only, no pickled object runs: torch.save(model.state_dict(), FILE)"
)


@dataclass(frozen=True)
class FoundWeights:
    """A set of weights that a checkpoint holds.

    Args:
        place: Keys of the checkpoint that lead to the set, and the prefix of its names, joined by
            dots; `""` where there are neither.
        weights: Tensors by name: by the model's names where it has such a weight, and by the
            file's names otherwise.
        matching: How many of the model's weights are in the set with the same name and shape; heads
            do not count.
        others: Places of the other sets that fit as well as this one.
    """

    place: str
    weights: dict[str, Tensor]
    matching: int = 0
    others: tuple[str, ...] = ()


def find_weights(
    checkpoint: Any, wanted: Mapping[str, Tensor], heads: Collection[str] = ()
) -> FoundWeights:
    """The set of weights in `checkpoint` that fits best.

    Names may have any prefix, and parts that wrappers add. Where several sets fit equally well,
    the first of PREFERRED decides, then the least nested, then the first that `state_dicts` lists.

    Args:
        checkpoint: A state dict, or nested dictionaries that hold state dicts.
        wanted: The model's state dict; only its names and shapes are looked at.
        heads: Names of layers whose shapes do not matter, since the classes may be others.

    Raises:
        ValueError: `checkpoint` holds no set of tensors; the message lists what it holds.
    """
    body = {n: x for n, x in wanted.items() if not (is_counter(n) or under(n, heads))}
    names = {_unwrapped(name): name for name in wanted if not is_counter(name)}
    found = [
        replace(
            s, matching=sum(n in s.weights and s.weights[n].shape == body[n].shape for n in body)
        )
        for place, state in state_dicts(checkpoint)
        for s in _sets(place, state, names)
    ]
    if not found:
        raise ValueError(f"checkpoint holds no state dict of tensors, got {_contents(checkpoint)}")
    most = max(s.matching for s in found)
    if not most:
        return max(found, key=lambda s: len(s.weights))
    best = sorted(
        (s for s in found if s.matching == most),
        key=lambda s: (_preference(s.place), s.place.count(".")),
    )
    others = tuple(s.place or "names without a prefix" for s in best[1:])
    return replace(best[0], others=others)


def state_dicts(checkpoint: Any) -> list[tuple[str, dict[str, Tensor]]]:
    """All sets of tensors in nested dictionaries, each with the keys that lead to it.

    Sets whose keys are PREFERRED come first, and of equals the one with more tensors. Entries that
    count something are left out.
    """
    found = list(_walk(checkpoint, "", DEPTH))
    return sorted(found, key=lambda item: (_preference(item[0]), -len(item[1])))


def is_counter(name: str) -> bool:
    """Whether the entry `name` of a state dict counts something and is no weight."""
    return name.rpartition(".")[2] in COUNTERS


def under(name: str, layers: Collection[str]) -> bool:
    """Whether `name` is the name of an entry of one of the `layers`."""
    return any(name.startswith(f"{layer}.") for layer in layers)


def _walk(content: Any, place: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if not isinstance(content, Mapping) or not depth:
        return
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor) and not is_counter(name)
    }
    if tensors:
        yield place, tensors
    for key, value in content.items():
        yield from _walk(value, f"{place}.{key}" if place else str(key), depth - 1)


def _sets(
    place: str, state: Mapping[str, Tensor], names: Mapping[str, str]
) -> Iterator[FoundWeights]:
    """The part of `state` under each prefix that leads to names of the model.

    If no prefix does, all of `state` is the only set.

    Args:
        place: Keys of the checkpoint that lead to the state dict.
        state: Any state dict.
        names: The model's names, each by its form without the parts that wrappers add.
    """
    plain = {_unwrapped(name): name for name in state}
    prefixes: Counter[str] = Counter()
    for name in plain:
        parts = name.split(".")
        ends = (".".join(parts[start:]) for start in range(len(parts)))
        prefixes.update(name.removesuffix(end) for end in ends if end in names)
    least = max(1, max(prefixes.values(), default=0) // 2, len(names) // 4)
    for prefix in [p for p, count in prefixes.items() if count >= least] or [""]:
        ends_of = {name.removeprefix(prefix): name for name in plain if name.startswith(prefix)}
        weights = {names.get(end, end): state[plain[name]] for end, name in ends_of.items()}
        where = ".".join(filter(None, (place, prefix.removesuffix("."))))
        yield FoundWeights(where, weights)


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _preference(place: str) -> int:
    words = set(re.split(r"[._]", place.lower()))
    ranks = [rank for rank, name in enumerate(PREFERRED) if words.issuperset(name.split("_"))]
    return min(ranks, default=len(PREFERRED))


def _contents(checkpoint: Any) -> str:
    """Says in words what a checkpoint holds instead of weights."""
    if isinstance(checkpoint, Placeholder):
        return f"a whole pickled {checkpoint.kind}; {WEIGHTS_ONLY}"
    if not isinstance(checkpoint, Mapping):
        return type(checkpoint).__name__
    kinds = [
        f"{key!r} ({x.kind if isinstance(x, Placeholder) else type(x).__name__})"
        for key, x in checkpoint.items()
    ]
    more = f" and {len(kinds) - 8} more" if len(kinds) > 8 else ""
    pickled = any(isinstance(x, Placeholder) for x in checkpoint.values())
    advice = f"; {WEIGHTS_ONLY}" if pickled else ""
    return f"{', '.join(kinds[:8]) or 'an empty dictionary'}{more}{advice}"
