"""The statistics of one model in the cache, for data whose features would take more room."""

import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from hubfast.extraction.entry import EntryStore
from hubfast.extraction.feed import Feed
from hubfast.scores.statistics import FeatureStatistics

EVERY = 5.0  # seconds from one copy to the next at least: on a GPU a block takes less


class Sums(NamedTuple):
    """What is kept of the blocks so far."""

    statistics: FeatureStatistics
    end: int  # the block behind the last of them
    tally: Counter[str]  # see `hubfast.hub.Model`


class StatisticsStore:
    """The sums over all blocks so far, one file that each later copy replaces.

    Args:
        cache: The cache.
        base: What determines the model's outputs.
        feed: The samples.
        targets: Digest of their targets, which the sums depend on.
    """

    def __init__(self, cache: EntryStore, base: Mapping[str, Any], feed: Feed, targets: str):
        self.cache, self.feed = cache, feed
        self._facts = {"kind": "statistics", **base, "targets": targets, "count": len(feed.data)}
        self._written = time.monotonic()

    def get(self, stop: int, device: str) -> Sums | None:
        """What is kept, if it is of no block from `stop` on."""
        entry = self.cache.get(self._key())
        if entry is None:
            return None
        end = int(entry.facts["end"])
        if end > stop or entry.facts["samples"] != self._digest(end):
            return None
        statistics = FeatureStatistics.of_state(entry.tensors, entry.facts["state"], device)
        return Sums(statistics, end, Counter(entry.facts["tally"]))

    def put(
        self, statistics: FeatureStatistics, tally: Mapping[str, int], end: int, *, last: bool
    ) -> bool:
        """Keeps the sums over the blocks before `end`, unless it has just kept others.

        Returns:
            Whether it did.
        """
        if not last and time.monotonic() - self._written < EVERY:
            return False
        tensors, state = statistics.state()
        facts = {
            "end": end,
            "samples": self._digest(end),
            "state": state,
            "tally": dict(tally),
        }
        self.cache.put(self._key(), tensors, facts)
        self._written = time.monotonic()
        return True

    def _key(self) -> dict[str, Any]:
        return {**self._facts, "first": self.feed.digest(0)}

    def _digest(self, end: int) -> str:
        digests = [self.feed.digest(index) for index in range(end)]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def targets_digest(targets: Tensor, task: str) -> str:
    """What tells these targets, in this order, from any others."""
    digest = hashlib.sha256(f"{task} {targets.dtype} {tuple(targets.shape)}".encode())
    digest.update(targets.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
