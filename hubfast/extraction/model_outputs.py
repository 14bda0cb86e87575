"""What one model gives for each block of samples: taken from the cache, or computed."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, cast
from weakref import ReferenceType, ref

from torch import nn

from hubfast.extraction.block_run import run_block
from hubfast.extraction.entry import EntryStore
from hubfast.extraction.measured import channels_last_wins
from hubfast.extraction.outputs import Outputs, OutputStore
from hubfast.extraction.point_outputs import PointOutputs, is_first, of_features
from hubfast.extraction.points import PointFacts
from hubfast.extraction.setting import Known, Setting, Spent
from hubfast.hub.identity import identity
from hubfast.hub.model import Model, Source
from hubfast.hub.network import Network
from hubfast.hub.points import LAST
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
        points: Its feature points, the first of which has the logits; those that are asked for
            where these are known.
        told: Which points it has; None before that is known.
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
        self.known: Known | None = None
        self.told: PointFacts | None = None
        self._place_kept: tuple[EntryStore | None, Mapping[str, Any] | None] = (None, None)
        self._cache, self._transit = cache, transit
        self._model: Model | None = None
        self._placed, self._held = False, ExitStack()
        self._begin(self._identity_now())

    @property
    def width(self) -> int | None:
        """The width of the features of its first point; None before these came."""
        return self.points[0].width

    @width.setter
    def width(self, width: int | None) -> None:
        self.points[0].width = width

    @property
    def scores(self) -> StreamedScores:
        """The scores of its first point."""
        return self.points[0].scores

    @property
    def store(self) -> OutputStore | None:
        """Where outputs of its first point are kept; None for nowhere."""
        return self.points[0].store

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

    def compute(self, index: int, *, passing: bool = False) -> list[Outputs]:
        """Runs the model over a block, and keeps what it gives, by point.

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
        ran = run_block(model, block, self.setting.options, (self.setting.seed, index))
        assert ran is not None
        self._tell(ran.told)
        self.spent.prepare += ran.prepare
        self.spent.forward += ran.forward
        self.computed += len(block)
        found = [ran.points[point.name] for point in self.points]
        for point, outputs in zip(self.points, found, strict=True):
            assert outputs.features is not None
            point.width = outputs.features.shape[1]
        keeps = self.keeps_features(index)
        for point, outputs in zip(self.points, found, strict=True):
            point.put(index, outputs, keeps=keeps, passing=passing)
        return found

    def kept(self, index: int) -> list[Outputs] | None:
        """What it gave for a block before, by point, if all of that is kept."""
        if not self._knows_points():
            return None
        found = list[Outputs]()
        for point in self.points:
            outputs = point.kept(index)
            if outputs is None:
                return None
            found.append(outputs)
        return found

    def keeps_features(self, index: int) -> bool:
        """Whether the features of a block are kept: those of the first samples, or all if few."""
        feed = self.setting.feed
        most = max(KEPT_SAMPLES, 2 * (self.width or 0))
        return is_first(feed, index) or len(feed.data) <= most

    def _knows_points(self) -> bool:
        """Whether it is known which points the model has, now or from an earlier run."""
        if self.told is None and self.store is not None:
            told = self.store.points()
            if told is not None:
                self._take_over(told)
        return self.told is not None

    def _tell(self, told: PointFacts) -> None:
        """Takes over which points the model has, as a run of it has shown."""
        if told == self.told:
            return
        self._take_over(told)
        if self.store is not None:
            self.store.put_points(told)

    def _take_over(self, told: PointFacts) -> None:
        same = told.names == tuple(point.name for point in self.points)
        if not same and self.told is not None and self.begun:
            raise ValueError(f"a model must have the same feature points throughout: {told.names}")
        self.told = told
        if not same:
            self._make_points(told.names)

    def _make_points(self, names: Sequence[str]) -> None:
        """Starts the scores of these points, the first of which has those of logits, too."""
        metrics = [self.metrics, *[of_features(self.metrics)] * (len(names) - 1)]
        pairs = zip(names, metrics, strict=True)
        self.points = [PointOutputs(name, scores, self.setting) for name, scores in pairs]
        for point in self.points:
            point.keep_in(*self._place_kept, self.source)

    def _begin(self, known: Mapping[str, Any] | None) -> None:
        """Starts from the first block, with what the cache has of a model of this identity."""
        self._keep_as(known)
        facts = None if self.store is None else self.store.facts(Known.names())
        if facts is not None:
            self.known = Known.of_facts(facts)

    def _keep_as(self, known: Mapping[str, Any] | None) -> None:
        """Keeps outputs under this identity; where that is not known, for this ranking alone."""
        self.identity, cache = known, self._cache
        if cache is None or known is None:
            cache, known = self._transit, {"once": self.source.name}
        self._place_kept = (cache, known)
        self.told = PointFacts((str(LAST),)) if self.setting.options.points.default else None
        self._make_points([str(LAST)])
        self._knows_points()

    def _identity_now(self) -> Mapping[str, Any] | None:
        return None if self._cache is None else identity(self.source, self._cache.hashes)

    def _place(self) -> None:
        """Keeps a module on the device until `rest`, and does not move it for each block anew."""
        module = getattr(self._model, "run", None)
        if isinstance(module, nn.Module) and not self._placed:
            self._held.enter_context(on_device(module, self.setting.options.device))
            self._held.callback(setattr, self, "_placed", False)
            self._placed = True
