"""State dicts inside of checkpoints: wherever training scripts, wrappers and trainers put them."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from hubfast.nn.weight_files import Placeholder

# Parts of names that wrappers add: DataParallel and averaging, torch.compile, FSDP, checkpointing.
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")  # are no weights
# Where several sets of weights fit a model, the first of these that is part of a set's name wins:
# averaged weights, a self-distilled model's teacher, a momentum encoder's query network.
PREFERRED = ("ema", "averaged", "swa", "teacher", "encoder_q", "online")
DEPTH = 4  # of dictionaries inside of each other
WEIGHTS_ONLY = (
    "files are read as weights only, no pickled object runs: torch.save(model.state_dict(), FILE)"
)


@dataclass(frozen=True)
class FoundWeights:
    """A set of weights that a checkpoint holds.

    Args:
        place: Where it lies: keys of the checkpoint and the prefix of its names, `""` for neither.
        weights: By the names that the model has, and those of others as the file has them.
        matching: How many of the model's weights it has, by name and shape, heads left out.
        others: Places of other sets that fit as well.
    """

    place: str
    weights: dict[str, Tensor]
    matching: int = 0
    others: tuple[str, ...] = ()


def find_weights(
    checkpoint: Any, wanted: Mapping[str, Tensor], heads: Collection[str] = ()
) -> FoundWeights:
    """The set of weights in `checkpoint` that fits best.

    Names may have any prefix, and parts that wrappers add. Where several sets fit as well as
    each other, averaged weights are taken before others, and else the first in the file.

    Args:
        checkpoint: A state dict, or dictionaries that hold some.
        wanted: The state dict of the model; only names and shapes are looked at.
        heads: Layers of the model whose shapes do not matter: the classes may be others.

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
    """All sets of tensors in nested dictionaries, with the keys that lead to each.

    Averaged sets come first, then those of more tensors. Counters of layers are left out.
    """
    found = list(_walk(checkpoint, "", DEPTH))
    return sorted(found, key=lambda item: (_preference(item[0]), -len(item[1])))


def is_counter(name: str) -> bool:
    """Whether a state dict's entry counts something and is no weight."""
    return name.rpartition(".")[2] in COUNTERS


def under(name: str, layers: Collection[str]) -> bool:
    """Whether `name` is of a parameter of one of the `layers`."""
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
    """Those of `state` under each prefix that leads to names of the model; as it is if none does.

    Args:
        place: Where the state dict lies.
        state: Any state dict.
        names: The model's names, by what they are without the parts of wrappers.
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
    """What there is instead of weights, in words."""
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
