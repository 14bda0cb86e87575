"""Rows of the tables of a ranking: every cell as text, and how to draw it."""

import dataclasses
import math
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from hubfast.ranking.result import RankedModel, Ranking, Seconds
from hubfast.ranking.verdict import Rules
from hubfast.report.numbers import MISSING, decimals, evenly, finite, number, whole

UNDECIDED = "?"  # the place of an undecided model
STAGES = tuple(field.name for field in dataclasses.fields(Seconds))


@dataclass(frozen=True)
class Cell:
    """A number as text and as it is, for sorting."""

    text: str
    value: float | int | None


@dataclass(frozen=True)
class Scale:
    """Maps values to percent of a drawing's width."""

    low: float
    high: float

    def percent(self, value: float) -> str:
        """Where `value` lies, for CSS."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"

    def ticks(self) -> list[tuple[str, str]]:
        """A few round values as (place, text)."""
        values = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        inside = [float(v) for v in values if self.low <= v <= self.high]
        return list(zip(map(self.percent, inside), evenly(inside), strict=True))


@dataclass(frozen=True)
class Whisker:
    """Places of a score and its interval on a Scale."""

    dot: str
    low: str | None
    high: str | None


@dataclass(frozen=True)
class Row:
    """A model with a score."""

    place: Cell
    name: str
    point: str  # the feature point of the row, where points were asked for
    tied: bool  # not distinguishable from the best, or accepted
    score: Cell
    low: str
    high: str
    whisker: Whisker | None
    samples: Cell
    standing: str  # in a race
    why: str  # in a race: the reason for the standing, without how sure it is
    expected: Cell  # accuracy or R2 of a linear head
    extra: list[Cell]
    width: Cell
    parameters: Cell
    seconds: Cell


def score_places(ranking: Ranking) -> int:
    """Decimals of this ranking's scores."""
    return decimals([m.score for m in ranking], 4)


def score_scale(ranking: Ranking) -> Scale | None:
    """The scale that all scores and intervals fit on; None without a finite score."""
    values = finite([value for m in telling(ranking) for value in (m.score, m.low, m.high)])
    if not values:
        return None
    low, high = min(values), max(values)
    margin = 0.03 * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(low - margin, high + margin)


def telling(ranking: Ranking) -> list[RankedModel]:
    """The models whose score says something, be they in the race or out of it."""
    return [m for m in ranking.scored if not m.void]


def table_rows(ranking: Ranking) -> list[Row]:
    """The models with a score, in order."""
    places, scale = score_places(ranking), score_scale(ranking)
    surely = "" if ranking.race is None else Rules(confidence=ranking.race.confidence).surely
    extra = [
        (values, decimals([values.get(m.name) for m in ranking], 3))
        for values in ranking.extra.values()
    ]
    spent = decimals([0.0, *(m.seconds.total for m in ranking)], 2)
    return [
        Row(
            place=Cell(UNDECIDED, None) if m.standing == "undecided" else place_cell(place),
            name=m.name,
            point=m.point,
            tied=m.tied or m.standing == "accepted",
            score=_cell(m.score, places),
            low=number(m.low, places),
            high=number(m.high, places),
            whisker=_whisker(m, scale),
            samples=Cell(whole(m.samples), m.samples),
            standing=m.standing,
            why=m.why.removesuffix(surely).rstrip(" ,"),
            expected=_cell(m.expected.value if m.expected else None, 3),
            extra=[_cell(values.get(m.name), digits) for values, digits in extra],
            width=Cell(whole(m.width), m.width),
            parameters=Cell(whole(m.parameters), m.parameters),
            seconds=_cell(m.seconds.total or None, spent),
        )
        for place, m in zip(ranking.places, ranking.scored, strict=False)
    ]


@dataclass(frozen=True)
class TimePart:
    """A part of all time."""

    stage: str
    seconds: str
    share: float
    width: str  # of its bar


def time_parts(ranking: Ranking) -> list[TimePart]:
    """What all models took together, and reading, which is done once for all of them."""
    spent = {"read": ranking.reading}
    spent |= {stage: sum(getattr(m.seconds, stage) for m in ranking) for stage in STAGES}
    total = all_seconds(ranking)
    scale, places = Scale(0.0, total), decimals([0.0, total], 2)
    return [
        TimePart(stage, number(value, places), value / total, scale.percent(value))
        for stage, value in spent.items()
    ]


@dataclass(frozen=True)
class TimeRow:
    """Where a model's time went."""

    name: str
    total: Cell
    stages: list[tuple[str, Cell, str]]  # name, seconds, width of its bar


def all_seconds(ranking: Ranking) -> float:
    """What reading and all models took together."""
    return ranking.reading + sum(m.seconds.total for m in ranking)


def time_rows(ranking: Ranking) -> list[TimeRow]:
    """The models that took any time, slowest first."""
    timed = sorted((m for m in ranking if m.seconds.total > 0), key=lambda m: -m.seconds.total)
    if not timed:
        return []
    places = decimals([0.0, timed[0].seconds.total], 2)
    scale = Scale(0.0, timed[0].seconds.total)
    rows = []
    for m in timed:
        spent = [(stage, getattr(m.seconds, stage)) for stage in STAGES]
        stages = [(stage, _cell(value, places), scale.percent(value)) for stage, value in spent]
        rows.append(TimeRow(m.name, _cell(m.seconds.total, places), stages))
    return rows


def place_cell(place: int | None) -> Cell:
    """The cell of a model's place, or of a dash."""
    return Cell(MISSING if place is None else str(place), place)


def _cell(value: float | None, places: int) -> Cell:
    known = value is not None and not math.isnan(value)
    return Cell(number(value, places), value if known else None)


def _whisker(m: RankedModel, scale: Scale | None) -> Whisker | None:
    if scale is None or m.void or m.score is None or not math.isfinite(m.score):
        return None
    ends = interval(m)
    low, high = (None, None) if ends is None else (scale.percent(end) for end in ends)
    return Whisker(scale.percent(m.score), low, high)


def interval(m: RankedModel) -> tuple[float, float] | None:
    """The interval of a model, if both ends are finite numbers."""
    if m.low is None or m.high is None or not math.isfinite(m.low + m.high):
        return None
    return m.low, m.high
