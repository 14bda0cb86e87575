"""What a race leaves behind: its rules, how the models stood at each look, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubfast.ranking.verdict import Standing


@dataclass(frozen=True)
class RaceLook:
    """How the models stood after a look."""

    samples: int  # that the running models had seen
    seconds: float  # since the race began
    standings: tuple[Standing, ...]


@dataclass(frozen=True)
class RaceRecord:
    """A race that is over."""

    top: int
    confidence: float
    tolerance: float
    passes: float  # of all models over all samples, the share that was needed, in [0, 1]
    why: str  # it is over
    looks: tuple[RaceLook, ...] = ()

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> "RaceRecord":
        """Reads what `dataclasses.asdict` made of one."""
        looks = tuple(
            RaceLook(
                look["samples"],
                look["seconds"],
                tuple(Standing(**standing) for standing in look["standings"]),
            )
            for look in content["looks"]
        )
        return cls(**{**content, "looks": looks})

    def __str__(self) -> str:
        return f"race: {self.why}; {100 * self.passes:.0f} % of the passes were needed"
