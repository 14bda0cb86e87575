"""One model's run over the blocks of a ranking: loaded when it is needed, scored as it goes."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, cast
from weakref import ReferenceType, ref

from torch import nn

from hubfast.data.block import Block
from hubfast.extraction.cache import Cache
from hubfast.extraction.feed import UnreadableDataError
from hubfast.extraction.outputs import Outputs, run_block
from hubfast.extraction.setting import Known, Setting, Spent
from hubfast.extraction.stores import stores_of
from hubfast.hub.errors import one_line
from hubfast.hub.identity import identity
from hubfast.hub.model import Model, Source
from hubfast.hub.network import Network
from hubfast.nn.hooks import on_device
from hubfast.nn.inference import for_inference
from hubfast.scores.registry import Metric
from hubfast.scores.streamed import KEPT_SAMPLES, StreamedScores
from hubfast.utils.defaults import usual_defaults
from hubfast.utils.global_state import global_state_kept


class ModelRun:
    """One model on its way through the blocks.

    Args:
        source: The model.
        metrics: The scores that will be asked for.
        setting: What all models are run with.
        cache: Where its outputs are kept, if they can be; None for nowhere.

    Attributes:
        done: Blocks whose outputs the scores have.
        error: Why it goes no further; empty while it does.
        width: The width of its features; None before the first.
        computed: Samples that it was run on, and not found in the cache.
        known: What is known of it; None until it was loaded once, now or in an earlier run.
        spent: Seconds that it took.
        tally: How many of the samples so far need a word, by that word; see `hubfast.hub.Model`.
    """

    def __init__(
        self, source: Source, metrics: Sequence[Metric], setting: Setting, cache: Cache | None
    ):
        self.source, self.metrics, self.setting = source, tuple(metrics), setting
        self.error, self.computed, self.spent = "", 0, Spent()
        self.width: int | None = None
        self.known: Known | None = None
        self._cache = cache
        self._model: Model | None = None
        self._placed, self._held = False, ExitStack()
        self._begin(None if cache is None else identity(source, cache.hashes))

    def _begin(self, known: Mapping[str, Any] | None) -> None:
        """Starts from the first block, with what the cache has of a model of this identity."""
        data = self.setting.feed.data
        self.done, self.tally = 0, Counter[str]()
        self.scores = StreamedScores(self.metrics, data.task, len(data))
        self._keep_as(known)
        facts = None if self.store is None else self.store.facts(Known.names())
        if facts is not None:
            self.known = Known.of_facts(facts)

    def _keep_as(self, known: Mapping[str, Any] | None) -> None:
        """Keeps outputs under this identity; nowhere if that is not known."""
        self._identity = known
        needed = self.scores.needs_statistics
        found = stores_of(self._cache, known, self.source, self.setting, sums=needed)
        self.store, self.sums = found

    @property
    def loaded(self) -> Model | None:
        """The model, if it is loaded."""
        return self._model

    def needs_reading(self, start: int, stop: int) -> bool:
        """Whether some block is not in the cache, as far as that can be told without a look."""
        if self.error or self.done >= stop or (self.known is not None and not self.known.reads):
            return False
        feed = self.setting.feed
        if self.store is None or feed.hashed_by_reading:
            return True
        ends = {max(start, self.done), stop - 1}  # a look at all would read all before any is used
        return not all(self.store.has(feed.digest(index)) for index in ends)

    def advance(self, stop: int) -> None:
        """Goes on to block `stop`, or to its own first fault, which `error` then says.

        Raises:
            UnreadableDataError: The samples are at fault.
        """
        if self.error or self.done >= stop:
            return
        try:
            with ExitStack() as self._held:
                while self.done < stop:
                    if not self._jump(stop):
                        self._step()
        except UnreadableDataError:
            raise
        except Exception as error:  # any fault of one model must not lose the others
            self.error = one_line(error)
            self._model = None

    def release(self) -> list[ReferenceType[object]]:
        """Lets go of the model; gives weak references to its parts."""
        parts = (self._model, getattr(self._model, "run", None))
        self._model = None
        return [ref(part) for part in parts if getattr(type(part), "__weakrefoffset__", 0)]

    def load(self) -> Model:
        """The model, loaded now if it is not yet."""
        if self._model is None:
            begun = time.perf_counter()
            with global_state_kept(), usual_defaults():
                model = self.source.load()
            self._model = model
            self.setting.loading()
            self._check_identity()
            if self.known is None:
                self.known = Known(
                    model.parameters,
                    model.imagenet,
                    tuple(getattr(model, "notes", ())),
                    getattr(model, "framing", None),
                    getattr(model, "reads_samples", True),
                )
                if self.store is not None:
                    self.store.put_facts(self.known.as_facts())
            if self.setting.folds(self.source) and isinstance(model, Network):
                for_inference(cast(nn.Module, model.run))
            if self.setting.full is not None and hasattr(model, "check_count"):
                model.check_count(self.setting.full)
            self.spent.load += time.perf_counter() - begun
        return self._model

    def _check_identity(self) -> None:
        """Begins again where loading has fetched other weights than those that were kept.

        Where these were not here before, it is known only now what they are.
        """
        now = None if self._cache is None else identity(self.source, self._cache.hashes)
        if now == self._identity:
            return
        if self._identity is None and not self.done:
            self._keep_as(now)
        elif self._identity is not None:
            self.known = None
            self._begin(now)

    def _step(self) -> None:
        """The next block: from the cache, or by running the model."""
        feed, index = self.setting.feed, self.done
        block = feed.known(index)
        if len(block):
            outputs = self._kept(index)
            if outputs is None:
                self.load()
                if self.done != index:
                    return
                outputs = self._run(index)
            begun = time.perf_counter()
            self._add(block, outputs)
            self.spent.score += time.perf_counter() - begun
        self.done = index + 1
        if self.sums is not None and not self._keeps_features(index):
            last = self.done == len(feed)
            self.sums.put(self.scores.statistics, self.tally, self.done, last=last)
        self.setting.advanced(len(block.data))

    def _run(self, index: int) -> Outputs:
        model = self.load()
        self._place()
        assert self.known is not None
        feed, known = self.setting.feed, self.known
        block = feed.ready(index, known.framing) if known.reads else feed.known(index)
        outputs = run_block(model, block, self.setting.options, (self.setting.seed, index))
        assert outputs is not None
        assert outputs.features is not None
        self.spent.prepare += outputs.prepare
        self.spent.forward += outputs.forward
        self.computed += len(block)
        self.width = outputs.features.shape[1]
        if self.store is not None:
            features, logits = self._keeps_features(index), self.scores.needs_logits
            digests = feed.digests(index)
            self.store.put(feed.digest(index), digests, outputs, features=features, logits=logits)
        return outputs

    def _kept(self, index: int) -> Outputs | None:
        if self.store is None:
            return None
        feed, logits = self.setting.feed, self.scores.needs_logits
        first = not index or feed.ends[index - 1] < KEPT_SAMPLES  # later ones are for sums alone
        features = self.scores.needs_statistics or (first and self.scores.needs_features)
        found = self.store.get(feed.digest(index), features=features, logits=logits)
        if found is None:
            found = self.store.gather(feed.digests(index), logits=logits)
        if found is not None and found.features is not None:
            self.width = found.features.shape[1]
        return found

    def _add(self, block: Block, outputs: Outputs, *, counted: bool = False) -> None:
        targets = block.targets
        self.scores.update(targets, outputs.features, outputs.logits, counted=counted)
        self.tally.update(outputs.tally)

    def _keeps_features(self, index: int) -> bool:
        """Whether the features of a block are kept: those of the first samples, or all if few."""
        feed = self.setting.feed
        most = max(KEPT_SAMPLES, 2 * (self.width or 0))
        return feed.ends[index] <= KEPT_SAMPLES or len(feed.data) <= most

    def _jump(self, stop: int) -> bool:
        """Goes on behind the blocks whose sums an earlier run has kept, if it has."""
        feed, start = self.setting.feed, self.done
        if self.store is None or self.sums is None or not start or self._keeps_features(start):
            return False
        found = self.sums.get(stop, self.setting.options.device)
        if found is None or found.end <= start:
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

    def _place(self) -> None:
        """Keeps a module on the device until `advance` ends, and not for each block anew."""
        module = getattr(self._model, "run", None)
        if isinstance(module, nn.Module) and not self._placed:
            self._held.enter_context(on_device(module, self.setting.options.device))
            self._held.callback(setattr, self, "_placed", False)
            self._placed = True
