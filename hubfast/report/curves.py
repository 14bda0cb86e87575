"""Line charts as inline SVG in the colours of the page's theme."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from hubfast.report.labels import text_width
from hubfast.report.numbers import evenly
from hubfast.report.page import render

COLOURS = ("--accent", "--prepare", "--score", "--muted", "--warn", "--fg")
DASHES = ("none", "6 3", "2 3")  # lines beyond the colours are told apart by these
FONT = 12.5


@dataclass(frozen=True)
class Line:
    """A curve, or a point where only one value is known."""

    name: str
    points: str  # of an SVG polyline
    last: tuple[float, float]
    colour: str
    dash: str


@dataclass(frozen=True)
class Tick:
    """A tick of an axis: where it is, in pixels, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class _Size:
    width: int  # CSS pixels
    height: int


SIZES = {"wide": _Size(1000, 320), "narrow": _Size(360, 280)}
TOP, RIGHT, BOTTOM = 34, 16, 46


def curves(
    series: Mapping[str, Sequence[float]], *, x: str, y: str, alt: str, caption: str | Markup
) -> Markup:
    """Draws a figure of one line per series, once for wide windows and once for narrow ones.

    Args:
        series: Finite values at x = 1, 2, ... by name; at least one.
        x: Title of the horizontal axis.
        y: Title of the vertical axis.
        alt: Says what is drawn to those who do not see it.
        caption: Text under the figure.
    """
    drawings = [_drawing(kind, size, series) for kind, size in SIZES.items()]
    return render("curves.html", drawings=drawings, x=x, y=y, alt=alt, caption=caption)


def _drawing(kind: str, size: _Size, series: Mapping[str, Sequence[float]]) -> dict:
    values = [value for line in series.values() for value in line]
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = (0.0 if 0 <= low < 0.3 * high else low - margin), high + margin
    count = max(max(map(len, series.values())), 2)
    levels = _inside(MaxNLocator(5).tick_values(low, high), low, high)
    texts = evenly(levels)
    left = 14 + max(text_width(text, FONT) for text in texts)

    def right(step: float) -> float:
        return round(left + (size.width - RIGHT - left) * (step - 1) / (count - 1), 2)

    def up(value: float) -> float:
        return round(TOP + (size.height - BOTTOM - TOP) * (high - value) / (high - low), 2)

    steps = _inside(MaxNLocator(6, integer=True).tick_values(1, count), 1, count)
    lines = []
    for number, (name, line) in enumerate(series.items()):
        corners = [(right(step), up(value)) for step, value in enumerate(line, 1)]
        points = " ".join(f"{a},{b}" for a, b in corners)
        dash = DASHES[number // len(COLOURS) % len(DASHES)]
        lines.append(Line(name, points, corners[-1], COLOURS[number % len(COLOURS)], dash))
    return {
        "kind": kind,
        "size": size,
        "left": left,
        "lines": lines,
        "x_ticks": [
            Tick(right(step), text) for step, text in zip(steps, evenly(steps), strict=True)
        ],
        "y_ticks": [Tick(up(value), text) for value, text in zip(levels, texts, strict=True)],
    }


def _inside(ticks: Sequence[float], low: float, high: float) -> list[float]:
    return [float(tick) for tick in ticks if low <= tick <= high]
