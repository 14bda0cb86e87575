"""What goes with the run of a model: how all are run, what is known of one, what it took."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from hubfast.extraction.feed import Feed
from hubfast.hub.model import Extraction, Source
from hubfast.hub.preprocessing import TimmTransform

OWN_MODULES = ("timm", "minihub")  # kinds of models whose modules nobody else keeps
FOLDED_FROM = 512  # samples of a ranking


@dataclass
class Spent:
    """Seconds that one model took."""

    load: float = 0.0
    prepare: float = 0.0
    forward: float = 0.0
    score: float = 0.0


@dataclass(frozen=True)
class Known:
    """What is known of a model once it was loaded."""

    parameters: int | None
    imagenet: float | None
    notes: tuple[str, ...]
    framing: TimmTransform | None  # None: it takes decoded samples
    reads: bool = True  # whether it takes samples at all

    @classmethod
    def names(cls) -> list[str]:
        """Names of the facts."""
        return [field.name for field in fields(cls)]

    def as_facts(self) -> dict[str, Any]:
        """The same as JSON."""
        framing = None if self.framing is None else self.framing.config
        return {**vars(self), "notes": list(self.notes), "framing": framing}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> "Known":
        """What `as_facts` gave."""
        framing = None if facts["framing"] is None else TimmTransform(facts["framing"])
        given = {**facts, "notes": tuple(facts["notes"]), "framing": framing}
        return cls(**given)


@dataclass(frozen=True)
class Setting:
    """What all models of a ranking are run with."""

    feed: Feed
    options: Extraction
    seed: int
    full: int | None = None  # samples of the full data set; None where only some are used
    advanced: Callable[[int], object] = lambda count: None  # with the samples of each block
    loading: Callable[[], object] = lambda: None  # called behind each load
    looks: Collection[int] = ()  # numbers of samples at which a race looks at its models
    hardware: str = ""  # that runs the models, by `outputs.device_kind`; empty for this process's

    def folds(self, source: Source) -> bool:
        """Whether a module is first made ready to run and no longer to train.

        That takes about a second, so it needs some samples to be worth it.
        """
        return source.kind in OWN_MODULES and len(self.feed.data) >= FOLDED_FROM
