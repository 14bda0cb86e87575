"""What one model gives for each block of samples: taken from the cache, or computed."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, cast
from weakref import ReferenceType, ref

from torch import nn

from hubfast.extraction.entry import EntryStore
from hubfast.extraction.measured import channels_last_wins
from hubfast.extraction.outputs import Outputs, run_block
from hubfast.extraction.setting import Known, Setting, Spent
from hubfast.extraction.stores import stores_of
from hubfast.hub.identity import identity
from hubfast.hub.model import Model, Source
from hubfast.hub.network import Network
from hubfast.nn.hooks import on_device
from hubfast.nn.inference import for_inference
from hubfast.scores.registry import Metric
from hubfast.scores.streamed import KEPT_SAMPLES, StreamedScores
from hubfast.utils.defaults import usual_defaults
from hubfast.utils.global_state import global_state_kept


class ModelOutputs:
    """One model, loaded when it is needed, and where its outputs are kept.

    Args:
        source: The model.
        metrics: The scores that will be asked for.
        setting: What all models are run with.
        cache: Where its outputs are kept, if they can be; None for nowhere.
        transit: Where outputs that cannot be kept are for the length of a ranking; None for
            nowhere.

    Attributes:
        width: The width of its features; None before the first.
        computed: Samples that it was run on, and not found in the cache.
        known: What is known of it; None until it was loaded once, now or in an earlier run.
        spent: Seconds that it took.
        identity: What determines its outputs; None where that is not known.
    """

    def __init__(
        self,
        source: Source,
        metrics: Sequence[Metric],
        setting: Setting,
        cache: EntryStore | None,
        transit: EntryStore | None = None,
    ):
        self.source, self.metrics, self.setting = source, tuple(metrics), setting
        self.computed, self.spent = 0, Spent()
        self.width: int | None = None
        self.known: Known | None = None
        self._cache, self._transit = cache, transit
        self._model: Model | None = None
        self._placed, self._held = False, ExitStack()
        self._begin(self._identity_now())

    @property
    def begun(self) -> bool:
        """Whether outputs of the present identity were used already."""
        return False

    @property
    def loaded(self) -> Model | None:
        """The model, if it is loaded."""
        return self._model

    @property
    def size(self) -> int | None:
        """Bytes that the loaded model holds; None where that is not known."""
        module = getattr(self._model, "run", getattr(self._model, "model", None))
        if isinstance(module, nn.Module):
            tensors = (*module.parameters(), *module.buffers())
            if tensors:
                return sum(x.nbytes for x in tensors)
        return None

    def load(self) -> Model:
        """The model, loaded now if it is not yet."""
        if self._model is None:
            begun = time.perf_counter()
            with global_state_kept(), usual_defaults():
                model = self.source.load()
            self._model = model
            self.setting.loading()
            self.identified(self._identity_now())
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
                how = channels_last_wins(self.setting.options)
                for_inference(cast(nn.Module, model.run), channels_last=how)
            if self.setting.full is not None and hasattr(model, "check_count"):
                model.check_count(self.setting.full)
            self.spent.load += time.perf_counter() - begun
        return self._model

    def release(self) -> list[ReferenceType[object]]:
        """Lets go of the model; gives weak references to its parts."""
        parts = (self._model, getattr(self._model, "run", None))
        self._model = None
        return [ref(part) for part in parts if getattr(type(part), "__weakrefoffset__", 0)]

    def rest(self) -> None:
        """Moves a module from the device to where it was before it ran."""
        self._held.close()

    def identified(self, now: Mapping[str, Any] | None) -> None:
        """Begins again where loading has fetched other weights than those that were kept.

        Where these were not here before, it is known only now what they are.
        """
        if now == self.identity:
            return
        if self.identity is None and not self.begun:
            self._keep_as(now)
        elif self.identity is not None:
            self.known = None
            self._begin(now)

    def compute(self, index: int, *, passing: bool = False) -> Outputs:
        """Runs the model over a block, and keeps what it gives.

        Args:
            index: The block.
            passing: Keep features also where sums will do once these have them; whoever adds them
                up says in the list of blocks that they are there, or deletes them.
        """
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
            needed = passing and self._needs_features(index)
            features, logits = needed or self.keeps_features(index), self.scores.needs_logits
            digest, digests = feed.digest(index), feed.digests(index)
            self.store.put(digest, digests, outputs, features=features, logits=logits)
            if features and not passing:
                self.store.enlist(digest)
        return outputs

    def kept(self, index: int) -> Outputs | None:
        """What it gave for a block before, if that is kept."""
        if self.store is None:
            return None
        feed, logits = self.setting.feed, self.scores.needs_logits
        features = self._needs_features(index)
        found = self.store.get(feed.digest(index), features=features, logits=logits)
        if found is None:
            found = self.store.gather(feed.digests(index), logits=logits)
        if found is not None and found.features is not None:
            self.width = found.features.shape[1]
        return found

    def keeps_features(self, index: int) -> bool:
        """Whether the features of a block are kept: those of the first samples, or all if few."""
        feed = self.setting.feed
        most = max(KEPT_SAMPLES, 2 * (self.width or 0))
        return self._is_first(index) or len(feed.data) <= most

    def _needs_features(self, index: int) -> bool:
        """Whether a score needs the features of a block; those of later ones are for sums alone."""
        first = self._is_first(index) and self.scores.needs_features
        return self.scores.needs_statistics or first

    def _is_first(self, index: int) -> bool:
        """Whether a block has some of the first samples, whose features scores may keep."""
        return not index or self.setting.feed.ends[index - 1] < KEPT_SAMPLES

    def _begin(self, known: Mapping[str, Any] | None) -> None:
        """Starts from the first block, with what the cache has of a model of this identity."""
        data = self.setting.feed.data
        self.scores = StreamedScores(self.metrics, data.task, len(data))
        self._keep_as(known)
        facts = None if self.store is None else self.store.facts(Known.names())
        if facts is not None:
            self.known = Known.of_facts(facts)

    def _keep_as(self, known: Mapping[str, Any] | None) -> None:
        """Keeps outputs under this identity; where that is not known, for this ranking alone."""
        self.identity, cache = known, self._cache
        if cache is None or known is None:
            cache, known = self._transit, {"once": self.source.name}
        needed = self.scores.needs_statistics
        self.store, self.sums = stores_of(cache, known, self.source, self.setting, sums=needed)

    def _identity_now(self) -> Mapping[str, Any] | None:
        return None if self._cache is None else identity(self.source, self._cache.hashes)

    def _place(self) -> None:
        """Keeps a module on the device until `rest`, and does not move it for each block anew."""
        module = getattr(self._model, "run", None)
        if isinstance(module, nn.Module) and not self._placed:
            self._held.enter_context(on_device(module, self.setting.options.device))
            self._held.callback(setattr, self, "_placed", False)
            self._placed = True
