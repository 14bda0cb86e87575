"""The order of models by a score: which have a place, and what is to be said of the others."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from hubfast.ranking.places import descending, places
from hubfast.ranking.race_record import RaceRecord
from hubfast.ranking.rows import MetricScore, RankedModel

NAMED = 10  # undecided models that are named; more are counted


@dataclass(frozen=True)
class RankedModels:
    """Models, best first; then those whose score gives no place; then those that failed.

    `len`, indexing and iteration go over the rows; `top(k)` gives the best ones' names.
    """

    models: tuple[RankedModel, ...]
    metric: str  # "consensus" where there are several
    data: str  # name of the target data
    task: str
    samples: int
    classes: int | None = None
    extra: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    metrics: tuple[str, ...] = ()  # those that a consensus is of
    location: str = ""  # where the data is, as its user wrote it; empty if it was an object
    notes: tuple[str, ...] = ()  # unreadable samples, uneven classes, warnings of libraries
    interrupted: bool = False  # not all models are done, or not on all samples
    race: RaceRecord | None = None  # None where all models saw all samples
    reading: float = 0.0  # seconds for reading and decoding samples, once for all models

    def __len__(self) -> int:
        return len(self.models)

    def __getitem__(self, index: int) -> RankedModel:
        return self.models[index]

    def __iter__(self) -> Iterator[RankedModel]:
        return iter(self.models)

    @property
    def scored(self) -> tuple[RankedModel, ...]:
        """The models that did not fail."""
        return tuple(m for m in self.models if m.score is not None)

    @property
    def failed(self) -> tuple[RankedModel, ...]:
        """The models that failed."""
        return tuple(m for m in self.models if m.score is None)

    @property
    def ranked(self) -> tuple[RankedModel, ...]:
        """The models that have a place: a score that says something, in a race an accepted one."""
        return tuple(m for m in self.scored if _placed(m))

    @property
    def undecided(self) -> tuple[RankedModel, ...]:
        """In a race, the models that its end left open: a set that holds the rest of the best."""
        return tuple(m for m in self.scored if m.standing == "undecided")

    @property
    def places(self) -> tuple[int | None, ...]:
        """The place of each of `models`, equal scores sharing one; None for those without."""
        known = iter(places([float(m.score or 0.0) for m in self.ranked]))
        return tuple(
            next(known) if m.score is not None and _placed(m) else None for m in self.models
        )

    def foreseen(self) -> str:
        """What the expected accuracy, or R2, of the models is of; empty where there is none."""
        found = next((m.expected for m in self.scored if m.expected is not None), None)
        if found is None:
            return ""
        left_out = "sentence" if found.clusters else "sample"
        if self.task == "regression":
            return f"expected: r2 of a linear head, {left_out} left out"
        most = "class" if self.task == "classification" else "values"
        most = f"most frequent {most} {found.majority:.3f}"
        return f"expected: accuracy of a linear head, {left_out} left out; {most}"

    def top(self, k: int = 1) -> list[str]:
        """Names of the k best models.

        Raises:
            ValueError: Fewer than k models have a place, or k is less than 1.
        """
        ranked = self.ranked
        if not 1 <= k <= len(ranked):
            why = self.silences()
            if self.race is not None and k > self.race.top:
                why.append(f"the race was for the top {self.race.top}")
            reasons = "".join(f"; {said}" for said in why)
            raise ValueError(f"k must be in 1..{len(ranked)}, got {k}{reasons}")
        return [model.name for model in ranked[:k]]

    def by(self, metric: str) -> Self:
        """The ranking by one of several metrics, as if it had been asked for alone.

        Raises:
            ValueError: The metric was not computed.
        """
        if metric not in self.metrics:
            raise ValueError(f"metric must be one of {list(self.metrics)}, got {metric!r}")
        rows = [_alone(m, metric) for m in self.models]
        rows.sort(key=lambda m: (bool(m.void), *descending(m.score)))
        return dataclasses.replace(self, models=tuple(rows), metric=metric, metrics=())

    def with_column(self, title: str, values: Mapping[str, float]) -> Self:
        """A copy with a column of your own, such as fine-tuned accuracies, by model name.

        Values that are not finite are missing.
        """
        known = {name: value for name, value in values.items() if math.isfinite(value)}
        return dataclasses.replace(self, extra={**self.extra, title: known})

    def remarks(self) -> list[str]:
        """What should be known of models, each remark once with the names of its models."""
        named: dict[str, list[str]] = {}
        for m in self.scored:
            if m.note:
                named.setdefault(m.note, []).append(m.name)
        return [f"{', '.join(names)}: {note}" for note, names in named.items()]

    def silences(self) -> list[str]:
        """A sentence for each metric that says nothing of some models, and for an open race."""
        told = self._left_open()
        for metric in self.metrics or (self.metric,):
            alone = self.by(metric) if self.metrics else self
            void = [m.void for m in alone.scored if m.void]
            if void:
                some = f"{len(void)} of {len(alone.scored)} models have no place by {metric}"
                told.append(f"{some}: {void[0]}")
        return told

    def _left_open(self) -> list[str]:
        names = [m.name for m in self.undecided]
        if self.race is None or not names:
            return []
        more = len(names) - NAMED
        listed = ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
        one, rest = len(names) == 1, "the rest of the best" if self.ranked else "the best"
        said = f"{len(names)} {'model is' if one else 'models are'} undecided, as {self.race.why}"
        return [f"{said}: {listed} {'holds' if one else 'hold'} {rest}"]


def _placed(m: RankedModel) -> bool:
    return not m.void and m.standing in ("", "accepted")


def _alone(m: RankedModel, metric: str) -> RankedModel:
    """The row in a ranking by this metric alone; none of its numbers is of another score."""
    alone = m.scores.get(metric)
    if alone is None or alone.score is None:
        alone = MetricScore(error=m.error if alone is None else alone.error)
    return dataclasses.replace(
        m,
        score=alone.score,
        low=alone.low,
        high=alone.high,
        tied=alone.tied,
        void=alone.void,
        error=alone.error,
        scores={},
    )
