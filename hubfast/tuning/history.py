"""What happened in training, by step and by epoch."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """Curves of a run; plain lists, so that they go into a checkpoint as they are."""

    terms: dict[str, list[float]] = field(default_factory=dict)  # means by epoch
    metric: list[float] = field(default_factory=list)  # on validation data, by epoch
    diagnostics: dict[str, list[float]] = field(default_factory=dict)  # means by epoch
    seconds: float = 0.0  # spent in training steps, without validation
    steps: int = 0
    samples: int = 0

    @property
    def iterations_per_second(self) -> float:
        """Training steps per second."""
        return self.steps / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "History":
        """Reads what `as_dict` gave."""
        return cls(**values)


@dataclass
class EpochMeans:
    """Running means within an epoch, weighted by samples."""

    sums: dict[str, float] = field(default_factory=dict)  # sums of the loss terms
    diagnostics: dict[str, float] = field(default_factory=dict)  # sums of the method's numbers
    count: int = 0

    def add(self, terms: dict[str, float], diagnostics: dict[str, float], samples: int) -> None:
        """Adds a step's values."""
        for sums, values in ((self.sums, terms), (self.diagnostics, diagnostics)):
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value * samples
        self.count += samples

    def close(self, history: History) -> None:
        """Appends the means to `history` and starts anew."""
        kept = (history.terms, history.diagnostics)
        for curves, sums in zip(kept, (self.sums, self.diagnostics), strict=True):
            for name, total in sums.items():
                curves.setdefault(name, []).append(total / self.count)
        self.sums, self.diagnostics, self.count = {}, {}, 0
