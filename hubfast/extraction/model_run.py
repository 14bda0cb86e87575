"""One model's run over the blocks of a ranking, scored as it goes."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
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
        if self.store is None or feed.hashed_by_reading or not self._knows_points():
            return True
        ends = {max(start, self.done), stop - 1}  # a look at all would read all before any is used
        digests = [feed.digest(index) for index in ends]
        stores = [point.store for point in self.points]
        return not all(store is not None and store.has(d) for store in stores for d in digests)

    def finds(self, index: int, stop: int) -> bool:
        """Whether what it gave for a block is there, as far as that is told without samples.

        Args:
            index: The block.
            stop: The block that it goes to next.
        """
        if self.store is None or not self.setting.feed.hashes(index) or not self._knows_points():
            return False
        if all(point.finds(index) for point in self.points):
            return True
        return index < self._reach(index, stop)  # which reads the sums

    def _reach(self, index: int, stop: int) -> int:
        """The block behind those that kept sums have, which serve where none of them is left out.

        What stops there will be behind `stop` is not known: sums over more are hoped to serve.
        """
        last = stop if index < stop else len(self.setting.feed)
        if last not in self._reaches:
            sums = [point.sums for point in self.points]
            self._reaches[last] = min(0 if one is None else one.reach(last) for one in sums)
        return self._reaches[last]

    def look_again(self) -> None:
        """Has the next block looked for anew, which a network may hold for missing."""
        for point in self.points:
            if point.store is not None:
                point.store.look_again(self.setting.feed.digest(self.done))

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
            self._add(index, block, outputs)
            self.spent.score += time.perf_counter() - begun
        self._passed(index)
        self.setting.advanced(len(block.data))
        return True

    def _passed(self, index: int) -> None:
        """The scores have one more block: notes so in the cache."""
        feed, self.done = self.setting.feed, index + 1
        keeps = self.keeps_features(index)
        if self.away and keeps:
            for point in self.points:  # workers that did so at once would undo it
                if point.store is not None:
                    point.store.enlist(feed.digest(index))
        if not keeps and self._put_sums():
            self._saved = self.done
            if self.away:
                self._clear()

    def _put_sums(self) -> bool:
        """Keeps the sums over the blocks so far, of all points or of none; gives if it did."""
        last, due = self.done == len(self.setting.feed), False
        for point in self.points:
            if point.sums is None or point.ahead > self.done:  # what it has kept is of more
                continue
            statistics = point.scores.statistics
            if not point.sums.put(statistics, self.tally, self.done, last=last or due):
                return False
            due = True
        return due

    def came_again(self, index: int) -> None:
        """A block was run twice: deletes its features if sums that are kept have them."""
        if index < self._saved and not self.keeps_features(index):
            for point in self.points:
                point.drop_features(index)

    def _clear(self) -> None:
        """Deletes features that were kept only until sums had them, and these were kept."""
        for index in reversed(range(self.done)):
            if self.keeps_features(index):
                return
            dropped = [point.drop_features(index) for point in self.points]
            if not any(dropped):
                return

    def forget(self) -> None:
        """Gives up what the scores are of, once the model was scored for good."""
        for point in self.points:
            point.scores.forget()

    def _add(self, index: int, block: Block, outputs: Sequence[Outputs]) -> None:
        for point, given in zip(self.points, outputs, strict=True):
            point.add(index, block, given)
        self.tally.update(outputs[0].tally)

    def _jump(self, stop: int) -> bool:
        """Goes on behind the blocks whose sums an earlier run has kept, if it has."""
        feed, start = self.setting.feed, self.done
        if not start or self.keeps_features(start) or stop == self._tried:
            return False
        self._tried = stop
        device = self.setting.options.device
        sums = [None if p.sums is None else p.sums.get(stop, device) for p in self.points]
        found = [one for one in sums if one is not None]
        if len(found) < len(sums):
            return False
        nearest = min(found, key=lambda one: one.end)
        if nearest.end <= start:
            return False
        if self.away and not all(feed.tells(index) for index in range(start, nearest.end)):
            return False
        logits = self._kept_logits(start, nearest.end)
        if logits is None:
            return False
        nothing = [Outputs(None, None, True)] * (len(self.points) - 1)
        for point, one in zip(self.points, found, strict=True):
            point.ahead = one.end
        for index, given in enumerate(logits, start):
            block = feed.known(index)
            self._add(index, block, [given, *nothing])
            self.setting.advanced(len(block.data))
        for point, one in zip(self.points, found, strict=True):
            point.scores.statistics = one.statistics
        self.done, self.tally = nearest.end, nearest.tally
        return True

    def _kept_logits(self, start: int, stop: int) -> list[Outputs] | None:
        """What is kept of these blocks beside their features, if all that is needed is."""
        if not self.scores.needs_logits or self.store is None:
            return [Outputs(None, None, True)] * (stop - start)
        digests = (self.setting.feed.digest(index) for index in range(start, stop))
        kept = [self.store.get(each, features=False, logits=True) for each in digests]
        whole = [one for one in kept if one is not None]
        return whole if len(whole) == len(kept) else None
