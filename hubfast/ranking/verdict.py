"""What a race is asked for, and what it says at each look."""

import math
from dataclasses import dataclass
from typing import Literal

from hubfast.utils.arguments import as_whole, check_number

State = Literal["in", "accepted", "dropped", "failed"]


@dataclass(frozen=True)
class Rules:
    """What a race is asked for.

    Attributes:
        top: How many of the best models are wanted.
        confidence: How sure the race must be, over all of its decisions together, that the models
            it accepts are the best ones by their scores on all samples.
        tolerance: The race may stop as soon as no model that it leaves out can be better by more
            than this, in units of the score.

    Raises:
        ValueError: `top` is below 1, `confidence` not between 0 and 1, or `tolerance` negative
            or not finite.
        TypeError: One of them is no number.
    """

    top: int = 3
    confidence: float = 0.95
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        as_whole(self.top, "top", 1)
        check_number(self.confidence, "confidence")
        check_number(self.tolerance, "tolerance")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {self.confidence}")
        if not (self.tolerance >= 0 and math.isfinite(self.tolerance)):
            raise ValueError(f"tolerance must be finite and at least 0, got {self.tolerance}")

    @property
    def surely(self) -> str:
        """The confidence in words: `with 95 % confidence`."""
        return f"with {100 * self.confidence:.6g} % confidence"

    @property
    def at_most(self) -> str:
        """What holds for one of the best: `at most 2 models are better`."""
        return f"at most {are_better(self.top - 1)}" if self.top > 1 else "no model is better"

    def level(self, models: int, looks: int) -> float:
        """The chance of a wrong decision by one comparison of two models at one look.

        A wrong decision takes one of the `top` best models for worse than one of the others, so
        `top` (models - `top`) comparisons can go wrong at each look that decides. The first look
        and the last do not.
        """
        pairs = self.top * (models - self.top)
        return (1 - self.confidence) / (max(looks - 2, 1) * pairs)


@dataclass(frozen=True)
class Standing:
    """How one model stands in a race, as of the last look that it took part in.

    A model among the provisional best is compared with the first one outside, every other model
    with the last one inside. Where `low` to `high` does not hold the estimate of that rival, the
    two are told apart.
    """

    name: str
    state: State = "in"  # once the race is over, "in" is undecided
    samples: int = 0  # that it has seen
    looks: int = 0  # that the race had made by then
    score: float | None = None  # of these samples
    estimate: float | None = None  # of its score on all samples
    low: float | None = None  # of the simultaneous interval; None where nothing is known yet
    high: float | None = None
    exact: bool = False  # whether it has seen all samples: the estimate is the score
    why: str = ""  # one sentence without a full stop


@dataclass(frozen=True)
class Verdict:
    """How all models stand after a look, in the order of the race's names."""

    samples: int  # of the last look
    looks: int  # made so far
    standings: tuple[Standing, ...]
    over: bool
    why: str  # why it is over; empty while it is not

    def __getitem__(self, name: str) -> Standing:
        """The standing of one model.

        Raises:
            KeyError: No model of the race has this name.
        """
        for standing in self.standings:
            if standing.name == name:
                return standing
        raise KeyError(name)

    @property
    def running(self) -> tuple[Standing, ...]:
        """The models that must see more samples, up to the next look; none once it is over."""
        return () if self.over else self._those("in")

    @property
    def accepted(self) -> tuple[Standing, ...]:
        """The models known to be among the best: a set, not an order."""
        return self._those("accepted")

    @property
    def dropped(self) -> tuple[Standing, ...]:
        """The models known not to be among the best."""
        return self._those("dropped")

    @property
    def undecided(self) -> tuple[Standing, ...]:
        """The models that the end of the race left open: a set that holds the rest of the best."""
        return self._those("in") if self.over else ()

    @property
    def failed(self) -> tuple[Standing, ...]:
        """The models that were removed, or had no finite score on all samples."""
        return self._those("failed")

    def _those(self, state: State) -> tuple[Standing, ...]:
        return tuple(s for s in self.standings if s.state == state)


def are_better(count: int) -> str:
    """That so many models are: `3 models are better`."""
    return "1 model is better" if count == 1 else f"{count} models are better"
