"""The statistics of one model in the cache, for data whose features would take more room."""

import hashlib
import time
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from hubfast.extraction.entry import CacheEntry, EntryStore
from hubfast.extraction.feed import Feed
from hubfast.scores.statistics import FeatureStatistics

EVERY = 5.0  # seconds from one copy to the next at least: on a GPU a block takes less


class Sums(NamedTuple):
    """What is kept of the blocks so far."""

    statistics: FeatureStatistics
    end: int  # the block behind the last of them
    tally: Counter[str]  # see `hubfast.hub.Model`


class StatisticsStore:
    """The sums over all blocks so far: one file that each later copy replaces, and one each look.

    A race that is run again looks at its models where it did before, and needs the sums of then.

    Args:
        cache: The cache.
        base: What determines the model's outputs.
        feed: The samples.
        targets: Digest of their targets, which the sums depend on.
        looks: The blocks behind those that each look of a race is of.
    """

    def __init__(
        self,
        cache: EntryStore,
        base: Mapping[str, Any],
        feed: Feed,
        targets: str,
        looks: Collection[int] = (),
    ):
        self._looks = sorted({*looks} - {len(feed)})
        self.cache, self.feed = cache, feed
        self._facts = {"kind": "statistics", **base, "targets": targets, "count": len(feed.data)}
        self._written = time.monotonic()

    def reach(self, stop: int) -> int:
        """The block behind those that are summed up; 0 if there are others from `stop` on."""
        entry = self._entry(stop)
        return 0 if entry is None else int(entry.facts["end"])

    def get(self, stop: int, device: str) -> Sums | None:
        """What is kept, if it is of no block from `stop` on."""
        entry = self._entry(stop)
        if entry is None:
            return None
        end = int(entry.facts["end"])
        statistics = FeatureStatistics.of_state(entry.tensors, entry.facts["state"], device)
        return Sums(statistics, end, Counter(entry.facts["tally"]))

    def put(
        self, statistics: FeatureStatistics, tally: Mapping[str, int], end: int, *, last: bool
    ) -> bool:
        """Keeps the sums over the blocks before `end`, unless it has just kept others.

        Returns:
            Whether it did.
        """
        look = end if end in self._looks else None
        if not last and look is None and time.monotonic() - self._written < EVERY:
            return False
        tensors, state = statistics.state()
        facts = {
            "end": end,
            "samples": self._digest(end),
            "state": state,
            "tally": dict(tally),
        }
        self.cache.put(self._key(look), tensors, facts)
        self._written = time.monotonic()
        return True

    def _entry(self, stop: int) -> CacheEntry | None:
        """What is kept of most of the blocks before `stop`."""
        latest = self._found(stop, self._key())
        summed = latest.facts["end"] if latest is not None else 0
        for look in reversed([look for look in self._looks if summed < look <= stop]):
            if (found := self._found(stop, self._key(look))) is not None:
                return found
        return latest

    def _found(self, stop: int, key: Mapping[str, Any]) -> CacheEntry | None:
        """What is kept under a key, if it is of these samples, and of no block from `stop` on."""
        entry = self.cache.get(key)
        if entry is None or entry.facts["end"] > stop:
            return None
        return entry if entry.facts["samples"] == self._digest(entry.facts["end"]) else None

    def _key(self, look: int | None = None) -> dict[str, Any]:
        of_look = {} if look is None else {"look": look}
        return {**self._facts, "first": self.feed.digest(0), **of_look}

    def _digest(self, end: int) -> str:
        digests = [self.feed.digest(index) for index in range(end)]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def targets_digest(targets: Tensor, task: str) -> str:
    """What tells these targets, in this order, from any others."""
    digest = hashlib.sha256(f"{task} {targets.dtype} {tuple(targets.shape)}".encode())
    digest.update(targets.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
