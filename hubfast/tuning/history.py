"""What happened in training, by step and by epoch."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """Curves of a run; plain lists, so that they go into a checkpoint as they are."""

    terms: dict[str, list[float]] = field(default_factory=dict)  # means by epoch
    metric: list[float] = field(default_factory=list)  # on validation data, by epoch
    seconds: float = 0.0  # of training steps, validation not counted
    steps: int = 0
    samples: int = 0

    @property
    def iterations_per_second(self) -> float:
        """Training steps a second."""
        return self.steps / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "History":
        """Reads what `as_dict` gave."""
        return cls(**values)


@dataclass
class EpochMeans:
    """Running means of the terms within an epoch, weighted by samples."""

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, terms: dict[str, float], samples: int) -> None:
        """Adds a step's terms."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * samples
        self.count += samples

    def close(self, history: History) -> dict[str, float]:
        """Appends the means to `history`, returns them, and starts anew."""
        means = {name: total / self.count for name, total in self.sums.items()}
        for name, value in means.items():
            history.terms.setdefault(name, []).append(value)
        self.sums, self.count = {}, 0
        return means
