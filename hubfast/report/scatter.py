"""Scatter plots as inline SVG in the colours of the page's theme."""

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from hubfast.report.labels import Label, place, text_width
from hubfast.report.numbers import clip, evenly, short
from hubfast.report.page import render

# Drawn in these colours, which become the page's variables so that they follow its theme.
VARIABLES = {"#010203": "--fg", "#010204": "--muted", "#010205": "--line", "#010206": "--accent"}
FG, MUTED, LINE, ACCENT = VARIABLES
LOG_FROM = 8.0  # largest over smallest from which an axis is logarithmic


@dataclass(frozen=True)
class Point:
    """A model."""

    name: str
    number: str  # text that stands for the name where that has no room
    x: float
    y: float
    whisker: tuple[float, float] | None = None  # around the coordinate that is a score
    strong: bool = False


@dataclass(frozen=True)
class Frame:
    """What the axes show."""

    x: str
    y: str
    score: Literal["x", "y"]  # the axis that whiskers lie on
    cost: bool = False  # x is: logarithmic if it spans enough, with the front of cheapest models


@dataclass(frozen=True)
class _Size:
    width: int  # CSS pixels
    height: int
    name: int  # most characters of a model's name
    named: int  # most models with their names: the rest have numbers
    title: int  # and of an axis's

    right: int = 14
    top: int = 34
    bottom: int = 52


SIZES = {"wide": _Size(1000, 430, 36, 14, 80), "narrow": _Size(360, 380, 20, 8, 40)}
FONT = 12.5


def figure(
    points: Sequence[Point], frame: Frame, *, id: str, alt: str, caption: str | Markup
) -> Markup:
    """Draws a figure, once for wide windows and once for narrow ones.

    Args:
        points: Points with finite coordinates, in the order in which they are labelled.
        frame: The axes.
        id: Name of the figure, unique in the page.
        alt: Says what is drawn to those who do not see it.
        caption: Text under the figure.
    """
    drawings = [
        {"kind": kind, "size": size, "content": _draw(points, frame, size, f"{id}-{kind}")}
        for kind, size in SIZES.items()
    ]
    return render("figure.html", drawings=drawings, alt=alt, caption=caption)


def _draw(points: Sequence[Point], frame: Frame, size: _Size, salt: str) -> Markup:
    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,  # ids are hashes: the same in every run, different in every drawing
        "font.size": FONT,
    }
    out = StringIO()
    with style.context(["default", settings]), warnings.catch_warnings():
        # The browser has fonts for scripts that Matplotlib's own lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        drawing = Figure(figsize=(size.width / 72, size.height / 72), dpi=72)
        axes = drawing.add_axes((0, 0, 1, 1))
        ticks = _scales(axes, points, frame, size)
        left = 14 + max((text_width(text, FONT) for text in ticks), default=0.0)
        area = np.array([left, size.bottom, size.width - size.right, size.height - size.top])
        pixels = np.array([size.width, size.height])
        corner, extent = area[:2] / pixels, (area[2:] - area[:2]) / pixels
        axes.set_position((*corner, *extent))
        _marks(axes, points, frame)
        for label in _labels(axes, points, frame, size, area + np.array([-4, 0, 10, 8])):
            _text(drawing, size, label, FG)
        bottom = Label(clip(frame.x, size.title), "right", size.width - size.right, 14)
        top = Label(clip(frame.y, size.title), "left", 8, size.height - 12)
        _text(drawing, size, bottom, MUTED)
        _text(drawing, size, top, MUTED)
        none = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        drawing.savefig(out, format="svg", metadata=none, transparent=True)
    return _themed(out.getvalue())


def _scales(axes: Axes, points: Sequence[Point], frame: Frame, size: _Size) -> list[str]:
    """Sets limits and ticks; returns the texts of the ticks on y."""
    xs, ys = [p.x for p in points], [p.y for p in points]
    ends = [end for p in points for end in p.whisker or ()]
    (xs if frame.score == "x" else ys).extend(ends)
    log = frame.cost and min(xs) > 0 and max(xs) / min(xs) >= LOG_FROM
    if log:
        axes.set_xscale("log")
        margin = (max(xs) / min(xs)) ** 0.07
        axes.set_xlim(min(xs) / margin, max(xs) * margin)
        crowded = math.log10(max(xs) / min(xs)) * 360 / size.width
        subs = [(1.0, 2.0, 5.0), (1.0, 5.0), (1.0,)][(crowded > 1.2) + (crowded > 2)]
        _ticks(axes.xaxis, LogLocator(subs=subs).tick_values(*axes.get_xlim()), log=True)
    else:
        axes.set_xlim(*_padded(xs, 0.07))
        most = 8 if size.width > 500 else 4
        _ticks(axes.xaxis, MaxNLocator(most).tick_values(*axes.get_xlim()))
    axes.set_ylim(*_padded(ys, 0.08))
    axes.spines[:].set_visible(False)
    return _ticks(axes.yaxis, MaxNLocator(6).tick_values(*axes.get_ylim()))


def _padded(values: Sequence[float], share: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = share * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def _ticks(axis: Axis, values: Sequence[float], *, log: bool = False) -> list[str]:
    low, high = sorted(axis.get_view_interval())
    inside = [float(value) for value in values if low <= value <= high]
    texts = [short(value) for value in inside] if log else evenly(inside)
    axis.set_ticks(inside, texts)
    axis.set_minor_locator(NullLocator())
    axis.set_tick_params(color=LINE, labelcolor=MUTED, length=0, pad=6)
    axis.grid(True, color=LINE, linewidth=1)
    return texts


def _marks(axes: Axes, points: Sequence[Point], frame: Frame) -> None:
    if frame.cost:
        front = sorted(cheapest(points), key=lambda p: p.x)
        axes.plot(
            [p.x for p in front],
            [p.y for p in front],
            color=MUTED,
            linewidth=1,
            linestyle=(0, (3, 3)),
            zorder=1,
        )
    for p in reversed(points):
        colour = ACCENT if p.strong else MUTED
        if p.whisker is not None:
            along, across = p.whisker, (p.x, p.x) if frame.score == "y" else (p.y, p.y)
            ends = (across, along) if frame.score == "y" else (along, across)
            axes.plot(*ends, color=colour, linewidth=1.25, zorder=2)
        axes.plot(p.x, p.y, "o", color=colour, markersize=8, markeredgewidth=0, zorder=3)


def cheapest(points: Sequence[Point]) -> list[Point]:
    """The points that score more than every point of the same or lower cost x."""
    front: list[Point] = []
    for p in sorted(points, key=lambda p: (p.x, -p.y)):
        if not front or p.y > front[-1].y:
            front.append(p)
    return front


def _labels(
    axes: Axes, points: Sequence[Point], frame: Frame, size: _Size, area: np.ndarray
) -> list[Label]:
    project = axes.transData.transform
    centres = project([(p.x, p.y) for p in points])
    spans = [(c, p.whisker) for c, p in zip(centres, points, strict=True) if p.whisker]
    boxes = np.empty((len(spans), 4))
    for box, (centre, whisker) in zip(boxes, spans, strict=True):
        place_of = 1 if frame.score == "y" else 0
        low, high = (project([(end, end)])[0][place_of] for end in whisker)
        box[:] = [*(centre - 1), *(centre + 1)]
        box[[place_of, place_of + 2]] = low, high
    texts = [
        [text for text in (clip(p.name, size.name) * (position < size.named), p.number) if text]
        for position, p in enumerate(points)
    ]
    return place(centres, boxes, texts, area, FONT)


def _text(drawing: Figure, size: _Size, label: Label, colour: str) -> None:
    drawing.text(
        label.x / size.width,
        label.y / size.height,
        label.text,
        ha=label.align,
        va="center",
        color=colour,
        parse_math=False,  # names may hold dollars
    )


def _themed(svg: str) -> Markup:
    """Inner content of the drawing; Matplotlib has escaped its texts."""
    content = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    content = re.sub(r"<style.*?</style>", "", content, flags=re.DOTALL)
    content = re.sub(r'<g id="[^"]*"', "<g", content)
    content = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", content)
    for colour, variable in VARIABLES.items():
        content = content.replace(colour, f"var({variable})")
    return Markup(content)
