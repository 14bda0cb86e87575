"""The rows of a ranking: a model, its scores, and where its time went."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubfast.scores.logme.expected import Expected


@dataclass(frozen=True)
class Seconds:
    """Where a model's time went."""

    load: float = 0.0
    prepare: float = 0.0  # preparing samples for it; reading them is in `Ranking.reading`
    forward: float = 0.0
    score: float = 0.0

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return self.load + self.prepare + self.forward + self.score


@dataclass(frozen=True)
class MetricScore:
    """One of several scores of a model, or why it has none.

    A score that is not finite is none: it becomes the error.
    """

    score: float | None = None
    low: float | None = None  # of the 95 % bootstrap interval
    high: float | None = None
    tied: bool = False  # not distinguishable from the best by this metric
    seconds: float = 0.0  # time to compute it, features given
    error: str | None = None
    void: str = ""  # why the score gives no place and has no vote; empty where it does

    def __post_init__(self) -> None:
        _keep_finite(self)


@dataclass(frozen=True)
class PointScore:
    """One of several feature points of a model, each with its own scores."""

    point: str  # its layer and its pooling, such as "3/cls", "last/auto" or "mean/max"
    layer: int | None  # the number of its layer; None for the mean over all of them
    width: int | None = None  # D, the width of its features
    share: float = 0.0  # of the random halves of the samples, that choose it
    scores: Mapping[str, MetricScore] = dataclasses.field(default_factory=dict)  # by metric

    @property
    def pooling(self) -> str:
        """How its layer is pooled."""
        return self.point.partition("/")[2]


@dataclass(frozen=True)
class RankedModel:
    """One row: a model's score, or why it has none.

    In a ranking by several metrics `score` is their consensus, and `scores` holds each. A score
    that is not finite is none: it becomes the error.
    """

    name: str
    score: float | None = None
    low: float | None = None  # of the 95 % bootstrap interval
    high: float | None = None
    tied: bool = False  # not distinguishable from the best
    width: int | None = None  # D, the width of its features
    parameters: int | None = None
    seconds: Seconds = Seconds()
    error: str | None = None
    spec: str | None = None  # what one would write to have this model again
    scores: Mapping[str, MetricScore] = dataclasses.field(default_factory=dict)
    note: str = ""  # what its hub file says of it, and what is to be known of how it was run
    licence: str = ""
    void: str = ""  # why the score gives no place; empty where it does
    samples: int | None = None  # in a race: how many it has seen
    standing: str = ""  # in a race: "accepted", "undecided" or "dropped"
    why: str = ""  # in a race: the reason for its standing
    expected: Expected | None = None  # of a linear model on its features; None where it has none
    hub_file: str = ""  # path of the hub file that describes the model; empty for others
    point: str = ""  # the feature point that it is ranked by, where points were asked for
    points: tuple[PointScore, ...] = ()  # all of them, where points were asked for

    def __post_init__(self) -> None:
        _keep_finite(self)
        if self.expected and not all(map(math.isfinite, vars(self.expected).values())):
            object.__setattr__(self, "expected", None)


def _keep_finite(row: MetricScore | RankedModel) -> None:
    """Turns a score that is NaN or infinite into none with an error, and such ends into none."""
    values = {name: getattr(row, name) for name in ("score", "low", "high")}
    odd = [n for n, value in values.items() if value is not None and not math.isfinite(value)]
    for name in odd:
        object.__setattr__(row, name, None)  # the record is frozen, and not yet anybody's
    if "score" in odd:
        changed: dict[str, Any] = {"low": None, "high": None, "tied": False}
        changed["error"] = row.error or f"its score is {values['score']}, which is no finite number"
        for name, value in changed.items():
            object.__setattr__(row, name, value)
