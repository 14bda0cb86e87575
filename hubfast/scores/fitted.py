"""What every fitted score has: its value, and how each sample moves it."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor


class FittedScore(Protocol):
    """A score of one model, with the influence of each sample on it.

    The influence is the sample's first-order effect on the score, around the score, float64: the
    values average to the score, and their std over sqrt(n) is the score's standard error.

    A score that was fitted to sums (LogME, the H-scores) no longer holds its samples, so
    `influence(features, targets)` takes those that are asked for. A score that was fitted to the
    samples themselves (`SampleScore`) knows them: `influence()` is that of all, and
    `influence(rows)` that of the samples at these positions.
    """

    @property
    def score(self) -> float:
        """Higher is better."""
        ...

    def influence(self, *args: Any, **kwargs: Any) -> Tensor:
        """The influence of r samples, `(r,)`."""
        ...


@dataclass(frozen=True, eq=False)
class SampleScore:
    """A score that was fitted to samples, with the influence of each of them on it."""

    score: float
    influences: Tensor = field(repr=False)  # (n,) float64; its mean is the score, to first order

    def influence(self, rows: Tensor | None = None) -> Tensor:
        """The influence of the samples at positions `rows`; by default that of all, `(n,)`."""
        return self.influences if rows is None else self.influences[rows]
