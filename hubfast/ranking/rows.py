"""The rows of a ranking: a model, its scores, and where its time went."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

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
    """One of several scores of a model, or why it has none."""

    score: float | None = None
    low: float | None = None  # of the 95 % bootstrap interval
    high: float | None = None
    tied: bool = False  # not distinguishable from the best by this metric
    seconds: float = 0.0  # time to compute it, features given
    error: str | None = None
    void: str = ""  # why the score gives no place and has no vote; empty where it does


@dataclass(frozen=True)
class RankedModel:
    """One row: a model's score, or why it has none.

    In a ranking by several metrics `score` is their consensus, and `scores` holds each.
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
