"""State dicts inside of checkpoints: wherever training scripts, wrappers and trainers put them."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
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
        matching: How many have the name and shape that the model wants.
        others: Places of other sets that fit as well.
    """

    place: str
    weights: dict[str, Tensor]
    matching: int
    others: tuple[str, ...] = ()


def find_weights(checkpoint: Any, wanted: Mapping[str, Tensor]) -> FoundWeights:
    """The set of weights in `checkpoint` that fits best.

    Names may have any prefix, and parts that wrappers add. Where several sets fit as well as
    each other, averaged weights are taken before others.

    Args:
        checkpoint: A state dict, or dictionaries that hold some.
        wanted: The state dict of the model; only names and shapes are looked at.

    Raises:
        ValueError: It holds no set of tensors; the message lists what it holds.
    """
    found = [s for place, state in state_dicts(checkpoint) for s in _sets(place, state, wanted)]
    if not found:
        raise ValueError(f"checkpoint holds no state dict of tensors, got {_contents(checkpoint)}")
    most = max(s.matching for s in found)
    if not most:
        return max(found, key=lambda s: len(s.weights))
    best = sorted((s for s in found if s.matching == most), key=_order)
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
    place: str, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> list[FoundWeights]:
    """Those of `state` under each prefix that leads to names of `wanted`; as it is if none does."""
    plain = {_unwrapped(name): name for name in state}
    target = {_unwrapped(name): name for name in wanted if not is_counter(name)}
    prefixes: Counter[str] = Counter()
    for name in plain:
        start = 0
        while start >= 0:
            if name[start:] in target:
                prefixes[name[:start]] += 1
            start = name.find(".", start) + 1 or -1
    least = max(1, max(prefixes.values(), default=0) // 2, len(target) // 4)
    likely = [prefix for prefix, count in prefixes.items() if count >= least] or [""]
    return [_under(place, prefix, state, plain, target, wanted) for prefix in likely]


def _under(
    place: str,
    prefix: str,
    state: Mapping[str, Tensor],
    plain: Mapping[str, str],
    target: Mapping[str, str],
    wanted: Mapping[str, Tensor],
) -> FoundWeights:
    weights = {
        target.get(name.removeprefix(prefix), name.removeprefix(prefix)): state[given]
        for name, given in plain.items()
        if name.startswith(prefix)
    }
    matching = sum(n in wanted and wanted[n].shape == x.shape for n, x in weights.items())
    where = ".".join(filter(None, (place, prefix.removesuffix("."))))
    return FoundWeights(where, weights, matching)


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _order(found: FoundWeights) -> tuple[int, int, int]:
    return _preference(found.place), found.place.count("."), len(found.place)


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
