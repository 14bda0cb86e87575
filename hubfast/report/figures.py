"""Figures of a ranking: score against cost, and against columns of the caller's own."""

import math
from collections.abc import Callable, Iterator

from markupsafe import Markup

from hubfast.ranking.agreement import correlations
from hubfast.ranking.result import RankedModel, Ranking
from hubfast.report.numbers import number, plural
from hubfast.report.page import render
from hubfast.report.rows import interval, telling
from hubfast.report.scatter import Frame, Point, cheapest, figure
from hubfast.report.titles import metric_axis, metric_title

FEWEST = 3  # models for a correlation: two always lie on a line


def cost_figures(ranking: Ranking) -> list[Markup]:
    """Score against seconds and against parameters, as far as the ranking knows them."""

    def pace(m: RankedModel) -> float | None:
        spent, seen = m.seconds.prepare + m.seconds.forward, m.samples or ranking.samples
        return 1000 * spent / seen if spent > 0 and seen > 0 else None

    if all((pace(m) or 0.0) < 0.1 for m in telling(ranking)):  # stored features take no time
        unit, factor = "milliseconds", 1000.0
    else:
        unit, factor = "seconds", 1.0

    def scaled(m: RankedModel) -> float | None:
        seconds = pace(m)
        return None if seconds is None else factor * seconds

    kinds: list[tuple[str, str, Callable[[RankedModel], float | None]]] = [
        ("seconds", f"{unit} per 1000 samples", scaled),
        ("parameters", "parameters", lambda m: m.parameters),
    ]
    return [
        found
        for kind, title, cost in kinds
        if (found := _cost_figure(ranking, kind, title, cost)) is not None
    ]


def _cost_figure(
    ranking: Ranking, kind: str, title: str, cost: Callable[[RankedModel], float | None]
) -> Markup | None:
    points = [
        Point(m.name, place, x, m.score, interval(m), strong)
        for place, m, strong in _told(ranking)
        if (x := cost(m)) is not None and m.score is not None and math.isfinite(m.score)
    ]
    if len(points) < 2:
        return None
    front = cheapest(points)
    ordered = [*(p for p in points if p in front), *(p for p in points if p not in front)]
    frame = Frame(x=title, y=metric_axis(ranking), score="y", cost=True)
    score = metric_title(ranking)
    return figure(
        ordered,
        frame,
        id=f"cost-{kind}",
        alt=f"{score} of {plural(len(points), 'model')} against {title}",
        caption=render("cost.html", front=front, kind=kind, missing=_missing(ranking, points)),
    )


def extra_figure(ranking: Ranking, title: str, id: str) -> Markup:
    """Score against a column of `ranking.extra`, with how far the two agree."""
    column = ranking.extra[title]
    points = []
    for place, m, strong in _told(ranking):
        value = column.get(m.name)
        if value is not None and m.score is not None and math.isfinite(value + m.score):
            points.append(Point(m.name, place, m.score, value, interval(m), strong))
    tau, pearson = agreement([p.x for p in points], [p.y for p in points])
    caption = render(
        "agreement.html",
        tau=number(tau, 3),
        pearson=number(pearson, 3),
        count=len(points),
        missing=_missing(ranking, points),
        fewest=FEWEST,
    )
    if not points:
        return caption
    score = metric_title(ranking)
    frame = Frame(x=metric_axis(ranking), y=title, score="x")
    alt = f"{title} of {plural(len(points), 'model')} against {score}"
    return figure(points, frame, id=id, alt=alt, caption=caption)


def agreement(scores: list[float], values: list[float]) -> tuple[float | None, float | None]:
    """Weighted Kendall tau and Pearson correlation; None for too few or constant values."""
    if len(scores) < FEWEST or min(map(len, map(set, (scores, values)))) < 2:
        return None, None
    return correlations(scores, values)


def _told(ranking: Ranking) -> Iterator[tuple[str, RankedModel, bool]]:
    """The models whose score says something: place, model, and whether it is one of the best."""
    of = dict(zip((m.name for m in ranking), ranking.places, strict=True))
    for m in telling(ranking):
        yield str(of[m.name] or ""), m, m.tied or m.standing == "accepted"


def _missing(ranking: Ranking, points: list[Point]) -> str:
    left_out = len(telling(ranking)) - len(points)
    return plural(left_out, "model") if left_out else ""
