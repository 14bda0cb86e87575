"""Scatter plots as inline SVG in the colours of the page's theme."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import Literal

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from hubfast.report.labels import place
from hubfast.report.numbers import short
from hubfast.report.page import render

# Drawn in these colours, which become the page's variables so that they follow its theme.
COLOURS = {"#010203": "--fg", "#010204": "--muted", "#010205": "--line", "#010206": "--accent"}
FG, MUTED, LINE, ACCENT = COLOURS
SIZES = {"wide": (1000, 420), "narrow": (360, 380)}  # CSS pixels, for windows over and under 640
FONT = 12.5
LONGEST = {"wide": 34, "narrow": 22}  # characters of a name beside its point
LOG_FROM = 8.0  # largest / smallest from which an axis is logarithmic


@dataclass(frozen=True)
class Point:
    """A model. `low` and `high` bound its score."""

    name: str
    number: str  # stands for the name where that has no room
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Axes2:
    """What the axes show; `score` is the one that `low` and `high` lie on."""

    x: str
    y: str
    score: Literal["x", "y"]
    log: bool = False  # x, if its values span enough


def figure(
    points: Sequence[Point], axes: Axes2, *, id: str, alt: str, caption: str | Markup
) -> Markup:
    """A figure with a drawing for wide and one for narrow windows.

    Args:
        points: With finite coordinates, most important first: they get their labels first.
        axes: Their titles and kinds.
        id: Unique in the page.
        alt: For readers who do not see it.
        caption: Under it.
    """
    drawings = [
        (kind, _draw(points, axes, kind, f"{id}-{kind}", alt)) for kind in ("wide", "narrow")
    ]
    return render("figure.html", drawings=drawings, caption=caption)
