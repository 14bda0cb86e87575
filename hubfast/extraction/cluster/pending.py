"""Blocks that nobody runs yet, by model and by rank."""

from collections.abc import Sequence

from hubfast.extraction.cluster.jobs import Task


class PendingBlocks:
    """The blocks of each model that are to be run, those of a lower rank first.

    Args:
        sizes: Samples of each block.

    Attributes:
        groups: Models by the rank of the block that comes next of them.
    """

    def __init__(self, sizes: Sequence[int]):
        self.sizes = sizes
        self.groups: dict[int, set[int]] = {}
        self._ranks: dict[int, dict[int, int]] = {}  # of each block of each model
        self._samples: dict[int, int] = {}  # of all blocks of each model

    def __contains__(self, task: Task) -> bool:
        """Whether a block of a model is pending."""
        return task.block in self._ranks.get(task.model, ())

    def add(self, model: int, block: int, rank: int) -> None:
        """Adds a block; one that is pending gets the lower of both ranks."""
        before = self.head(model)
        ranks = self._ranks.setdefault(model, {})
        if block not in ranks:
            self._samples[model] = self.samples(model) + self.sizes[block]
        ranks[block] = min(rank, ranks.get(block, rank))
        self._regroup(model, before)

    def discard(self, task: Task) -> None:
        """Takes out a block, if it is pending."""
        if task in self:
            before = self.head(task.model)
            del self._ranks[task.model][task.block]
            self._samples[task.model] -= self.sizes[task.block]
            self._regroup(task.model, before)

    def forget(self, model: int) -> None:
        """Takes out all blocks of a model."""
        before = self.head(model)
        self._ranks.pop(model, None)
        self._samples.pop(model, None)
        self._regroup(model, before)

    def head(self, model: int) -> tuple[int, int] | None:
        """The rank and the number of the block that comes next; None where none is pending."""
        ranks = self._ranks.get(model, {})
        return min(((rank, block) for block, rank in ranks.items()), default=None)

    def samples(self, model: int) -> int:
        """Samples of all pending blocks of a model."""
        return self._samples.get(model, 0)

    def _regroup(self, model: int, before: tuple[int, int] | None) -> None:
        after = self.head(model)
        if before is not None and (after is None or after[0] != before[0]):
            self.groups[before[0]].discard(model)
            if not self.groups[before[0]]:
                del self.groups[before[0]]
        if after is not None:
            self.groups.setdefault(after[0], set()).add(model)
