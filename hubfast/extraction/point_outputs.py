"""One feature point of a model: its scores, and where what it gives is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from hubfast.data.block import Block
from hubfast.extraction.entry import EntryStore
from hubfast.extraction.feed import Feed
from hubfast.extraction.outputs import Outputs
from hubfast.extraction.setting import Setting
from hubfast.extraction.stores import Stores, stores_of
from hubfast.hub.model import Source
from hubfast.scores.registry import SCORES, Metric
from hubfast.scores.streamed import KEPT_SAMPLES, StreamedScores


class PointOutputs:
    """One feature point of a model.

    Args:
        name: Its name.
        metrics: The scores that will be asked for.
        setting: What all models are run with.

    Attributes:
        scores: Its scores.
        width: The width of its features; None before the first.
        ahead: The block behind those that its sums have already: those that an earlier run has
            kept may be of more blocks than those of another point.
    """

    def __init__(self, name: str, metrics: Sequence[Metric], setting: Setting):
        self.name, self.setting = name, setting
        data = setting.feed.data
        self.scores = StreamedScores(metrics, data.task, len(data))
        self.width: int | None = None
        self.ahead = 0
        self.store, self.sums = Stores()

    def keep_in(
        self, cache: EntryStore | None, known: Mapping[str, Any] | None, source: Source
    ) -> None:
        """Keeps its outputs under the identity of the model; None for nowhere."""
        needed = self.scores.needs_statistics
        self.store, self.sums = stores_of(
            cache, known, source, self.setting, sums=needed, point=self.name
        )

    def kept(self, index: int) -> Outputs | None:
        """What it gave for a block before, if that is kept."""
        if self.store is None:
            return None
        feed, logits = self.setting.feed, self.scores.needs_logits
        features = self.needs_features(index)
        found = self.store.get(feed.digest(index), features=features, logits=logits)
        if found is None:
            found = self.store.gather(feed.digests(index), logits=logits)
        if found is not None and found.features is not None:
            self.width = found.features.shape[1]
        return found

    def finds(self, index: int) -> bool:
        """Whether that is kept, as far as it is told without samples."""
        feed, logits = self.setting.feed, self.scores.needs_logits
        if self.store is None:
            return False
        if self.store.has(feed.digest(index)):
            return True
        digests = feed.digests(index) if feed.tells(index) else None
        return digests is not None and self.store.gather(digests, logits=logits) is not None

    def put(self, index: int, outputs: Outputs, *, keeps: bool, passing: bool) -> None:
        """Keeps what it gave for a block; see `ModelOutputs.compute`.

        Args:
            index: The block.
            outputs: What it gave.
            keeps: Whether features of this block are kept for good.
            passing: Whether they are kept until sums have them.
        """
        if self.store is None:
            return
        feed = self.setting.feed
        needed = passing and self.needs_features(index)
        features, logits = needed or keeps, self.scores.needs_logits
        digest, digests = feed.digest(index), feed.digests(index)
        self.store.put(digest, digests, outputs, features=features, logits=logits)
        if features and not passing:
            self.store.enlist(digest)

    def needs_features(self, index: int) -> bool:
        """Whether a score needs the features of a block; those of later ones are for sums alone."""
        first = is_first(self.setting.feed, index) and self.scores.needs_features
        return self.scores.needs_statistics or first

    def drop_features(self, index: int) -> bool:
        """Deletes the features of a block, if they are kept; gives if they were."""
        digest, logits = self.setting.feed.digest(index), self.scores.needs_logits
        return self.store is not None and self.store.drop_features(digest, logits=logits)

    def add(self, index: int, block: Block, outputs: Outputs) -> None:
        """Adds what it gave for a block to its scores."""
        self.scores.update(
            block.targets,
            outputs.features,
            outputs.logits,
            counted=index < self.ahead,
            clusters=block.clusters,
        )


def of_features(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Those of the scores that look at features, and so differ between points."""
    return tuple(name for name in metrics if SCORES[name].needs in ("statistics", "samples"))


def is_first(feed: Feed, index: int) -> bool:
    """Whether a block has some of the first samples, whose features scores may keep."""
    return not index or feed.ends[index - 1] < KEPT_SAMPLES
