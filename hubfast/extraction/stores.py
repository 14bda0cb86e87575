"""Where the outputs of one model are kept in the cache, and the sums over them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hubfast.extraction.entry import EntryStore
from hubfast.extraction.outputs import OutputStore
from hubfast.extraction.setting import Setting
from hubfast.extraction.sums import StatisticsStore, targets_digest
from hubfast.hub.model import Source
from hubfast.hub.points import LAST


class Stores(NamedTuple):
    """Where they are kept; None for nowhere."""

    outputs: OutputStore | None = None
    sums: StatisticsStore | None = None


def stores_of(
    cache: EntryStore | None,
    identity: Mapping[str, Any] | None,
    source: Source,
    setting: Setting,
    *,
    sums: bool,
    point: str = str(LAST),
) -> Stores:
    """The stores of a model, none without a cache or where its identity is not known.

    Args:
        cache: The cache.
        identity: What determines the model's outputs.
        source: The model.
        setting: How all models are run.
        sums: Whether some score is of sums.
        point: The feature point of the model.
    """
    if cache is None or identity is None:
        return Stores()
    folds, hardware = setting.folds(source), setting.hardware
    outputs = OutputStore(
        cache, identity, setting.options, folds=folds, hardware=hardware, point=point
    )
    if not sums:
        return Stores(outputs)
    data = setting.feed.data
    targets = targets_digest(data.targets, data.task)
    ends = [end for end, count in enumerate(setting.feed.ends, 1) if count in setting.looks]
    return Stores(outputs, StatisticsStore(cache, outputs.base, setting.feed, targets, ends))
