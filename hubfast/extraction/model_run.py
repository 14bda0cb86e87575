"""One model's run over the blocks of a ranking, scored as it goes."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hubfast.data.block import Block
from hubfast.extraction.feed import UnreadableDataError
from hubfast.extraction.model_outputs import ModelOutputs
from hubfast.extraction.outputs import Outputs
from hubfast.hub.errors import one_line


class ModelRun(ModelOutputs):
    """One model on its way through the blocks.

    Attributes:
        away: Whether others run it, and what it gives is only ever found here, not computed.
        done: Blocks whose outputs the scores have.
        error: Why it goes no further; empty while it does.
        tally: How many of the samples so far need a word, by that word; see `hubfast.hub.Model`.
    """

    away = False
    error = ""
    done: int
    tally: Counter[str]

    @property
    def begun(self) -> bool:
        """Whether the scores have outputs already."""
        return self.done > 0

    def needs_reading(self, start: int, stop: int) -> bool:
        """Whether some block is not in the cache, as far as that can be told without a look."""
        if self.error or self.done >= stop or (self.known is not None and not self.known.reads):
            return False
        feed = self.setting.feed
        if self.store is None or feed.hashed_by_reading:
            return True
        ends = {max(start, self.done), stop - 1}  # a look at all would read all before any is used
        return not all(self.store.has(feed.digest(index)) for index in ends)

    def finds(self, index: int, stop: int) -> bool:
        """Whether what it gave for a block is there, as far as that is told without samples.

        Args:
            index: The block.
            stop: The block that it goes to next.
        """
        feed = self.setting.feed
        if self.store is None or not feed.hashes(index):
            return False
        if self.store.has(feed.digest(index)) or index < self._reach(index, stop):
            return True
        logits = self.scores.needs_logits
        digests = feed.digests(index) if feed.tells(index) else None
        return digests is not None and self.store.gather(digests, logits=logits) is not None

    def _reach(self, index: int, stop: int) -> int:
        """The block behind those that kept sums have, which serve where none of them is left out.

        What stops there will be behind `stop` is not known: sums over more are hoped to serve.
        """
        last = stop if index < stop else len(self.setting.feed)
        if last not in self._reaches:
            self._reaches[last] = 0 if self.sums is None else self.sums.reach(last)
        return self._reaches[last]

    def look_again(self) -> None:
        """Has the next block looked for anew, which a network may hold for missing."""
        if self.store is not None:
            self.store.look_again(self.setting.feed.digest(self.done))

    def advance(self, stop: int) -> None:
        """Goes on to block `stop`, or to its own first fault, which `error` then says.

        A model that is away goes on as far as what it gave is found.

        Raises:
            UnreadableDataError: The samples are at fault.
        """
        if self.error or self.done >= stop:
            return
        try:
            while self.done < stop:
                if not self._jump(stop) and not self._step():
                    break
        except UnreadableDataError:
            raise
        except (Exception, SystemExit) as error:  # any fault of one model must not lose the others
            self.error = one_line(error)
            self._model = None
        finally:
            self.rest()

    def _begin(self, known: Mapping[str, Any] | None) -> None:
        self.done, self.tally = 0, Counter[str]()
        self._saved = 0  # the block behind those that kept sums have
        self._tried = 0  # the block up to which sums were looked for
        self._reaches: dict[int, int] = {}  # what kept sums have, by where they must end
        super()._begin(known)

    def _step(self) -> bool:
        """Takes the next block, from the cache or by running the model.

        Returns:
            Whether it went on: one that is away does not where its outputs are not there yet.
        """
        feed, index = self.setting.feed, self.done
        if self.away and not feed.tells(index):  # nothing is read here that others read anyway
            return False
        block = feed.known(index)
        if len(block):
            outputs = self.kept(index)
            if outputs is None and self.away:
                return False
            if outputs is None:
                self.load()
                if self.done != index:
                    return True
                outputs = self.compute(index)
            begun = time.perf_counter()
            self._add(block, outputs)
            self.spent.score += time.perf_counter() - begun
        self._passed(index)
        self.setting.advanced(len(block.data))
        return True

    def _passed(self, index: int) -> None:
        """The scores have one more block: notes so in the cache."""
        feed, self.done = self.setting.feed, index + 1
        keeps = self.keeps_features(index)
        if self.away and keeps and self.store is not None:
            self.store.enlist(feed.digest(index))  # workers that did so at once would undo it
        if self.sums is None or keeps:
            return
        last = self.done == len(feed)
        saved = self.sums.put(self.scores.statistics, self.tally, self.done, last=last)
        if saved:
            self._saved = self.done
        if saved and self.away:
            self._clear()

    def came_again(self, index: int) -> None:
        """A block was run twice: deletes its features if sums that are kept have them."""
        if index < self._saved and not self.keeps_features(index) and self.store is not None:
            digest = self.setting.feed.digest(index)
            self.store.drop_features(digest, logits=self.scores.needs_logits)

    def _clear(self) -> None:
        """Deletes features that were kept only until sums had them, and these were kept."""
        assert self.store is not None
        digest, logits = self.setting.feed.digest, self.scores.needs_logits
        for index in reversed(range(self.done)):
            kept = self.keeps_features(index)
            if kept or not self.store.drop_features(digest(index), logits=logits):
                return

    def _add(self, block: Block, outputs: Outputs, *, counted: bool = False) -> None:
        targets = block.targets
        self.scores.update(
            targets,
            outputs.features,
            outputs.logits,
            counted=counted,
            clusters=block.clusters,
        )
        self.tally.update(outputs.tally)

    def _jump(self, stop: int) -> bool:
        """Goes on behind the blocks whose sums an earlier run has kept, if it has."""
        feed, start = self.setting.feed, self.done
        if self.store is None or self.sums is None or not start or self.keeps_features(start):
            return False
        if stop == self._tried:
            return False
        self._tried = stop
        found = self.sums.get(stop, self.setting.options.device)
        if found is None or found.end <= start:
            return False
        if self.away and not all(feed.tells(index) for index in range(start, found.end)):
            return False
        blocks = [feed.known(index) for index in range(start, found.end)]
        kept: list[Outputs | None] = [Outputs(None, None, True)] * len(blocks)
        if self.scores.needs_logits:
            digests = (feed.digest(index) for index in range(start, found.end))
            kept = [self.store.get(each, features=False, logits=True) for each in digests]
        whole = [one for one in kept if one is not None]
        if len(whole) < len(kept):
            return False
        for block, outputs in zip(blocks, whole, strict=True):
            self._add(block, outputs, counted=True)
            self.setting.advanced(len(block.data))
        self.scores.statistics, self.done, self.tally = found
        return True
