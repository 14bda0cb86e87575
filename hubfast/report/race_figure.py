"""The figure of a race: intervals that shrink from look to look, and who was stopped when."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from hubfast.ranking.race_record import RaceRecord
from hubfast.report.curves import FONT, Tick
from hubfast.report.labels import place, text_width
from hubfast.report.numbers import clip, evenly, number, plural, whole
from hubfast.report.page import render
from hubfast.report.race import Cut, ModelCourse, Moment, RaceCourse

TOP, BOTTOM = 34, 46
MARGIN = 0.06  # of the height, above and below
LINE = 15.0  # pixels from one name to the next
LEADER = 14  # pixels between the last look and the names beside it
EDGE = 16  # pixels right of the grid


@dataclass(frozen=True)
class _Size:
    width: int  # CSS pixels
    height: int
    name: int  # most characters of a model's name
    named: int  # most models with their names
    beside: bool  # whether names have a margin of their own


SIZES = {"wide": _Size(1000, 460, 32, 10, True), "narrow": _Size(360, 400, 18, 5, False)}


@dataclass(frozen=True)
class _Bar:
    """One model at one look, in pixels."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class _Run:
    """One model, in pixels."""

    state: str
    title: str
    bars: list[_Bar]
    path: str  # of an SVG polyline through its estimates
    mark: float  # the height of its last mark: of its estimate, or an edge of the drawing
    below: bool  # its last estimate lies below the drawing


class _Axes:
    """From looks and scores to pixels of a drawing."""

    def __init__(self, course: RaceCourse, size: _Size):
        low, high = course.limits
        margin = MARGIN * (high - low) or 0.1 * abs(high) or 1.0
        self.low, self.high = low - margin, high + margin
        levels = MaxNLocator(6).tick_values(self.low, self.high)
        self.levels = [float(x) for x in levels if self.low <= x <= self.high]
        self.left = 14 + max((text_width(text, FONT) for text in evenly(self.levels)), default=0.0)
        names = [text_width(name, FONT) for name, _ in _named(course, size) if size.beside]
        self.right = size.width - EDGE - (max(names) + LEADER if names else 0.0)
        self.top, self.bottom = TOP, size.height - BOTTOM
        self.column = (self.right - self.left) / len(course.samples)

    def across(self, look: int, shift: float = 0.0) -> float:
        """Where a look is, `shift` columns beside its middle."""
        return round(self.left + self.column * (look + 0.5 + shift), 2)

    def up(self, value: float) -> float:
        """Where a score is."""
        share = (self.high - value) / (self.high - self.low)
        return round(self.top + (self.bottom - self.top) * share, 2)


def race_figure(course: RaceCourse, record: RaceRecord, score: str) -> Markup:
    """Draws the course of a race, once for wide windows and once for narrow ones.

    Args:
        course: The course.
        record: The race.
        score: The title of the score, with its unit.
    """
    drawings = [_drawing(kind, size, course) for kind, size in SIZES.items()]
    below = sum(run.below for run in drawings[0]["runs"])
    low, high = course.limits
    matter = [m for model in course.models for m in model.moments if m.high > low]
    models = plural(len(course.models), "model")
    return render(
        "race_figure.html",
        drawings=drawings,
        states=list(dict.fromkeys(m.state for m in course.models)),
        top=record.top,
        y=score,
        alt=f"Estimates and intervals of {models} at {plural(len(course.samples), 'look')}",
        cut=any(m.low < low or m.high > high for m in matter),
        below=plural(below, "model") if below else "",
    )


def _drawing(kind: str, size: _Size, course: RaceCourse) -> dict[str, Any]:
    axes = _Axes(course, size)
    runs = [_run(model, axes) for model in course.models]
    ticks = zip(axes.levels, evenly(axes.levels), strict=True)
    return {
        "kind": kind,
        "size": size,
        "left": axes.left,
        "top": axes.top,
        "bottom": axes.bottom,
        "runs": runs[::-1],  # accepted ones on top
        "cuts": [_cut_path(side, course.cuts, axes) for side in ("inside", "outside")],
        "labels": _labels(course, runs, axes, size),
        "y_ticks": [Tick(axes.up(value), text) for value, text in ticks],
        "x_ticks": _sample_ticks(course.samples, axes),
    }


def _run(model: ModelCourse, axes: _Axes) -> _Run:
    def bar(m: Moment) -> _Bar:
        x = axes.across(m.look, m.shift)
        return _Bar(x, axes.up(m.estimate), axes.up(m.low), axes.up(m.high))

    bars, last = [bar(m) for m in model.moments], model.moments[-1]
    ends = f"{number(last.low, 4)} to {number(last.high, 4)}"
    title = (
        f"{model.name}: {model.state} after {whole(last.samples)} samples, {model.why}; "
        f"estimate {number(last.estimate, 4)}, {ends}"
    )
    path = " ".join(f"{b.x},{b.y}" for b in bars)
    mark = min(max(bars[-1].y, axes.top), axes.bottom)
    return _Run(model.state, title, bars, path, mark, last.estimate < axes.low)


def _cut_path(side: Literal["inside", "outside"], cuts: Sequence[Cut], axes: _Axes) -> str:
    """A line that is level over the column of each look."""
    ends = [
        f"{axes.across(cut.look, shift)},{axes.up(getattr(cut, side))}"
        for cut in cuts
        for shift in (-0.45, 0.45)
    ]
    return " ".join(ends)


def _sample_ticks(samples: Sequence[int], axes: _Axes) -> list[Tick]:
    """The samples of each look, or of every second or third one where there is no room."""
    widest = max(text_width(whole(count), FONT) for count in samples) + 6
    every = max(int(-(-widest // axes.column)), 1)
    shown = [i for i in range(len(samples)) if (len(samples) - 1 - i) % every == 0]
    return [Tick(axes.across(i), whole(samples[i])) for i in shown]


def _labels(
    course: RaceCourse, runs: Sequence[_Run], axes: _Axes, size: _Size
) -> list[dict[str, Any]]:
    """Names of the first models that were not dropped: in the margin if there is one."""
    named = [(name, runs[position]) for name, position in _named(course, size)]
    if size.beside:
        return _in_margin(named, axes)
    points = np.array([[run.bars[-1].x, size.height - run.bars[-1].y] for run in runs])
    every = [bar for run in runs for bar in run.bars]
    lines = [[b.x - 1, size.height - b.low, b.x + 1, size.height - b.high] for b in every]
    of = {id(run): (name,) for name, run in named}
    texts = [of.get(id(run), ()) for run in runs]
    area = np.array([axes.left, BOTTOM, size.width, size.height - TOP + 8.0])
    found = place(points, np.array(lines).reshape(-1, 4), texts, area, FONT)
    anchors = {"left": "start", "center": "middle", "right": "end"}
    return [
        {"text": f.text, "x": f.x, "y": size.height - f.y, "anchor": anchors[f.align], "from": None}
        for f in found
    ]


def _named(course: RaceCourse, size: _Size) -> list[tuple[str, int]]:
    """The names that are shown, as far as they have room, and the positions of their models."""
    left = [i for i, m in enumerate(course.models) if m.state in ("accepted", "undecided")]
    return [(clip(course.models[i].name, size.name), i) for i in left[: size.named]]


def _in_margin(named: Sequence[tuple[str, _Run]], axes: _Axes) -> list[dict[str, Any]]:
    """Names below each other, each as near to the height of its model as the others let it."""
    named = sorted(named, key=lambda pair: pair[1].bars[-1].y)
    heights = [run.bars[-1].y for _, run in named]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + LINE)
    for i in reversed(range(len(heights))):
        lowest = axes.bottom if i == len(heights) - 1 else heights[i + 1] - LINE
        heights[i] = min(heights[i], lowest)
    x = axes.right + LEADER
    return [
        {"text": name, "x": x, "y": y, "anchor": "start", "from": run.bars[-1]}
        for (name, run), y in zip(named, heights, strict=True)
    ]
