"""The figures of the report as Matplotlib axes, to put into a notebook or a paper.

    from hubfast import plots

    plots.scores(ranking).figure.savefig("scores.pdf")

Each function draws on `ax`, or on new axes, and returns them.
"""

from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from hubfast.ranking.result import RankedModel, Ranking
from hubfast.report.metrics import metric_rows, shares_beaten
from hubfast.report.numbers import clip
from hubfast.report.race import course_of
from hubfast.report.rows import STAGES, interval, telling
from hubfast.report.scatter import LOG_FROM, Point, cheapest
from hubfast.report.titles import metric_axis, title_of

BEST, OTHERS = "C0", "0.55"
MARKS = {
    "accepted": (BEST, "o"),
    "undecided": ("C1", "D"),
    "dropped": (OTHERS, "x"),
    "failed": (OTHERS, "+"),
}  # colour and mark of a model at the end of a race
LONGEST = 40  # characters of a name
ROW = 0.28  # inches per model


def scores(ranking: Ranking, ax: Axes | None = None) -> Axes:
    """Every model's score with its 95 % interval, best on top, the indistinguishable in colour."""
    models = _drawable(ranking)
    ax = ax or _rows(len(models))
    for row, m in enumerate(models):
        colour = BEST if _strong(m) else OTHERS
        if (ends := interval(m)) is not None:
            ax.plot(ends, (row, row), color=colour, linewidth=1.25)
        ax.plot([m.score or 0.0], [row], "o", color=colour, markersize=5)
    _names(ax, models)
    ax.set_xlabel(metric_axis(ranking))
    ax.grid(axis="x", alpha=0.3)
    return ax


def metrics(ranking: Ranking, ax: Axes | None = None) -> Axes:
    """Scores of a ranking by several metrics side by side: place, coloured by models beaten.

    Raises:
        ValueError: The ranking is by one metric.
    """
    if not ranking.metrics:
        raise ValueError(f"ranking must be by several metrics, got one by {ranking.metric!r}")
    rows = metric_rows(ranking)
    ax = ax or _rows(len(rows), 2.5 + 0.62 * len(ranking.metrics))
    ax.imshow(shares_beaten(ranking), cmap="Blues", vmin=0, vmax=1.4, aspect="auto")
    for y, row in enumerate(rows):
        for x, cell in enumerate(row.cells):
            ax.text(x, y, cell.place or "\N{EN DASH}", ha="center", va="center", fontsize="small")
    titles = [title_of(metric) for metric in ranking.metrics]
    ax.set_xticks(range(len(titles)), titles, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), [clip(row.name, LONGEST) for row in rows], parse_math=False)
    ax.set_title("place by each score, = not distinguishable from its best", fontsize="medium")
    return ax


def cost(
    ranking: Ranking,
    by: Literal["seconds", "parameters"] = "parameters",
    ax: Axes | None = None,
) -> Axes:
    """Score against what a model costs; the dashed line joins those that no cheaper one outscores.

    Args:
        ranking: A ranking; models whose cost is not known are left out.
        by: What costs: seconds to prepare and run 1000 samples, or parameters.
        ax: Where to draw.

    Raises:
        ValueError: `by` is something else.
    """
    if by not in ("seconds", "parameters"):
        raise ValueError(f"by must be 'seconds' or 'parameters', got {by!r}")
    ax = ax or plt.subplots(layout="constrained")[1]
    points = [
        Point(m.name, "", x, float(m.score or 0.0), interval(m), _strong(m))
        for m in _drawable(ranking)
        if (x := _cost(ranking, m, by)) is not None
    ]
    front = sorted(cheapest(points), key=lambda p: p.x)
    ax.plot([p.x for p in front], [p.y for p in front], "--", color=OTHERS, linewidth=1)
    _points(ax, points, whisker_on="y")
    known = [p.x for p in points if p.x > 0]
    if known and max(known) / min(known) >= LOG_FROM:
        ax.set_xscale("log")
    if by == "parameters":
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))  # 200k and not 200000
    ax.set_xlabel("seconds per 1000 samples" if by == "seconds" else "parameters")
    ax.set_ylabel(metric_axis(ranking))
    return ax


def against(ranking: Ranking, title: str, ax: Axes | None = None) -> Axes:
    """Score against a column added by `Ranking.with_column`, such as fine-tuned accuracy.

    Raises:
        ValueError: There is no such column.
    """
    if title not in ranking.extra:
        raise ValueError(f"title must be one of {list(ranking.extra)}, got {title!r}")
    ax = ax or plt.subplots(layout="constrained")[1]
    values = ranking.extra[title]
    points = [
        Point(m.name, "", float(m.score or 0.0), values[m.name], interval(m), _strong(m))
        for m in _drawable(ranking)
        if m.name in values
    ]
    _points(ax, points, whisker_on="x")
    ax.set_xlabel(metric_axis(ranking))
    ax.set_ylabel(title, parse_math=False)
    return ax


def race(ranking: Ranking, ax: Axes | None = None) -> Axes:
    """What each look of a race knew of each model; dashed, both sides of the last place.

    Models stand side by side at each look, the best on the left. The limits are those of the
    models that matter: hopeless ones may lie below.

    Raises:
        ValueError: The ranking was no race, or no look of it knew anything.
    """
    course = None if ranking.race is None else course_of(ranking.race)
    if course is None:
        raise ValueError("ranking must be of a race that knew something of its models")
    ax = ax or plt.subplots(layout="constrained")[1]
    for model in reversed(course.models):
        colour, mark = MARKS[model.state]
        xs = [m.look + m.shift for m in model.moments]
        ys = [m.estimate for m in model.moments]
        ax.plot(xs, ys, color=colour, linewidth=0.75, alpha=0.3)
        ax.vlines(xs, [m.low for m in model.moments], [m.high for m in model.moments], colour, lw=1)
        ax.plot(xs[-1:], ys[-1:], mark, color=colour, markersize=5, clip_on=True)
    for side in ("inside", "outside"):
        ends = [(c.look + x, getattr(c, side)) for c in course.cuts for x in (-0.45, 0.45)]
        ax.plot(*zip(*ends, strict=True), "--", color="0.2", linewidth=1)
    low, high = course.limits
    ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    ax.set_xticks(range(len(course.samples)), [f"{count:,}" for count in course.samples])
    ax.set_xlabel("samples")
    ax.set_ylabel(metric_axis(ranking))
    ax.grid(axis="y", alpha=0.3)
    return ax


def time(ranking: Ranking, ax: Axes | None = None) -> Axes:
    """Where each model's seconds went, slowest on top."""
    models = sorted(ranking, key=lambda m: -m.seconds.total)
    ax = ax or _rows(len(models))
    left = np.zeros(len(models))
    for stage in STAGES:
        spent = np.array([getattr(m.seconds, stage) for m in models])
        ax.barh(range(len(models)), spent, left=left, label=stage)
        left += spent
    _names(ax, models)
    ax.set_xlabel("seconds")
    ax.legend(frameon=False)
    return ax


def _drawable(ranking: Ranking) -> list[RankedModel]:
    return [m for m in telling(ranking) if m.score is not None and np.isfinite(m.score)]


def _strong(m: RankedModel) -> bool:
    return m.tied or m.standing == "accepted"


def _cost(ranking: Ranking, m: RankedModel, by: str) -> float | None:
    if by == "parameters":
        return m.parameters
    spent = m.seconds.prepare + m.seconds.forward
    seen = m.samples or ranking.samples
    return 1000 * spent / seen if seen and spent else None


def _rows(count: int, width: float = 6.4) -> Axes:
    size = (width, 1.2 + ROW * max(count, 2))
    return plt.subplots(figsize=size, layout="constrained")[1]


def _names(ax: Axes, models: list[RankedModel]) -> None:
    names = [clip(m.name, LONGEST) for m in models]
    ax.set_yticks(range(len(models)), names, parse_math=False)
    ax.set_ylim(len(models) - 0.4, -0.6)


def _points(ax: Axes, points: list[Point], whisker_on: Literal["x", "y"]) -> None:
    for p in points:
        colour = BEST if p.strong else OTHERS
        if p.whisker is not None:
            ends = (p.whisker, (p.y, p.y)) if whisker_on == "x" else ((p.x, p.x), p.whisker)
            ax.plot(*ends, color=colour, linewidth=1.25)
        ax.plot(p.x, p.y, "o", color=colour, markersize=5)
        ax.annotate(
            clip(p.name, LONGEST),
            (p.x, p.y),
            (5, 3),
            textcoords="offset points",
            fontsize="small",
            parse_math=False,
        )
    ax.margins(x=0.14)  # room for names
    ax.grid(alpha=0.3)
