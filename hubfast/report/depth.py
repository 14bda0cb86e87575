"""Score by depth: how each model's feature points score, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from hubfast.ranking.result import Ranking
from hubfast.ranking.rows import PointScore, RankedModel
from hubfast.report.curves import FONT, Tick
from hubfast.report.labels import text_width
from hubfast.report.numbers import clip, decimals, evenly, finite, number, plural
from hubfast.report.page import Section, render
from hubfast.report.rows import telling
from hubfast.report.titles import title_of

COLOURS = {  # of the lines, by pooling
    "mean": "--accent",
    "cls": "--prepare",
    "max": "--score",
    "last": "--warn",
    "auto": "--fg",
}
MOST = 12  # models that are drawn
TOP, RIGHT, BOTTOM = 12, 16, 46


@dataclass(frozen=True)
class PanelSize:
    """Of the drawing of a model, in CSS pixels."""

    width: int = 320
    height: int = 210


@dataclass(frozen=True)
class DepthMark:
    """A point in a drawing."""

    x: float
    y: float
    title: str
    chosen: bool


@dataclass(frozen=True)
class DepthLine:
    """The points of one pooling, from layer to layer."""

    name: str
    colour: str
    dash: str
    points: str  # of an SVG polyline
    marks: Sequence[DepthMark]


@dataclass(frozen=True)
class Panel:
    """The drawing of one model."""

    name: str
    alt: str
    size: PanelSize
    left: float
    lines: Sequence[DepthLine]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


def score_by_depth(ranking: Ranking) -> list[Section]:
    """The section of a page that shows it; none where no model has several points."""
    models = [m for m in telling(ranking) if len(m.points) > 1]
    metrics = [
        metric
        for metric in ranking.metrics or (ranking.metric,)
        if any(_values(m.points, metric) for m in models)
    ]
    if not metrics:
        return []
    parts = [_of_metric(ranking, models, metric) for metric in metrics]
    return [Section("Score by depth", Markup("\n").join(parts), "depth")]


def _of_metric(ranking: Ranking, models: Sequence[RankedModel], metric: str) -> Markup:
    drawn = [m for m in models if _values(m.points, metric)]
    values = [value for m in drawn[:MOST] for value in _values(m.points, metric)]
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    scale = (low - margin, high + margin)
    panels = [_panel(m, metric, scale) for m in drawn[:MOST]]
    there = {line.name for panel in panels for line in panel.lines}
    legend = [{"name": name, "colour": colour} for name, colour in COLOURS.items() if name in there]
    left_out = len(drawn) - MOST
    return render(
        "depth.html",
        key=f"{title_of(metric)} of each feature point; the ring is the point of the row, and a "
        "dashed line is the mean over all layers. A single point is not honest about having been "
        "chosen: the score of the row is.",
        legend=legend,
        panels=panels,
        x="layer",
        more=f"{plural(left_out, 'model')} further down the ranking not drawn"
        if left_out > 0
        else "",
    )


def _panel(m: RankedModel, metric: str, scale: tuple[float, float]) -> Panel:
    size, (low, high) = PanelSize(), scale
    levels = [v for v in MaxNLocator(4).tick_values(low, high) if low <= v <= high]
    texts = evenly([float(level) for level in levels])
    left = 14 + max((text_width(text, FONT) for text in texts), default=0)
    deepest = max((p.layer or 1 for p in m.points), default=1)
    first = min((p.layer for p in m.points if p.layer is not None), default=0)
    places = decimals(_values(m.points, metric), 4)

    def right(layer: float) -> float:
        width = size.width - RIGHT - left
        return round(left + width * (layer - first) / max(deepest - first, 1), 2)

    def up(value: float) -> float:
        return round(TOP + (size.height - BOTTOM - TOP) * (high - value) / (high - low), 2)

    def mark(p: PointScore, at: float, value: float) -> DepthMark:
        title = f"{p.point}: {number(value, places)}"
        return DepthMark(right(at), up(value), title, p.point == m.point)

    lines = []
    for pooling, layers in _lines(m.points).items():
        known = [(p, p.layer or 0, v) for p in layers if (v := _value(p, metric)) is not None]
        marks = [mark(p, at, value) for p, at, value in sorted(known, key=lambda one: one[1])]
        lines.append(_line(pooling, "none", marks))
    for p in m.points:
        value = _value(p, metric)
        if p.layer is None and value is not None:
            ends = [DepthMark(right(at), up(value), "", False) for at in (first, deepest)]
            line = _line(p.pooling, "5 4", ends)
            lines.append(_line(p.pooling, "5 4", [mark(p, first, value)], line.points))
    steps = MaxNLocator(6, integer=True).tick_values(first, deepest)
    inside = [float(step) for step in steps if first <= step <= deepest]
    return Panel(
        clip(m.name, 44),
        f"{title_of(metric)} of the layers of {clip(m.name, 60)}",
        size,
        left,
        [line for line in lines if line.marks],
        [Tick(right(step), f"{step:g}") for step in inside],
        [Tick(up(float(level)), text) for level, text in zip(levels, texts, strict=True)],
    )


def _line(pooling: str, dash: str, marks: Sequence[DepthMark], points: str = "") -> DepthLine:
    points = points or " ".join(f"{mark.x},{mark.y}" for mark in marks)
    return DepthLine(pooling, COLOURS[pooling], dash, points, marks)


def _lines(points: Sequence[PointScore]) -> dict[str, list[PointScore]]:
    """Points by pooling; what the model itself gives ends the one line that lacks the last layer.

    Where no single line lacks it, that stands alone.
    """
    lines: dict[str, list[PointScore]] = {}
    for p in points:
        if p.layer is not None:
            lines.setdefault(p.pooling, []).append(p)
    last = [
        name for name, found in lines.items() if not any(p.point.startswith("last/") for p in found)
    ]
    if "auto" in lines and len(last) == 1:
        lines[last[0]] += lines.pop("auto")
    return lines


def _value(p: PointScore, metric: str) -> float | None:
    found = p.scores.get(metric)
    return None if found is None or found.void else found.score


def _values(points: Sequence[PointScore], metric: str) -> list[float]:
    return finite(_value(p, metric) for p in points)
