"""The scores of a ranking by several metrics, side by side."""

from dataclasses import dataclass

import numpy as np

from hubfast.ranking.consensus import borda
from hubfast.ranking.places import places
from hubfast.ranking.result import Ranking
from hubfast.ranking.rows import MetricScore
from hubfast.report.numbers import MISSING, decimals, number
from hubfast.report.page import Section, render
from hubfast.report.rows import Cell, place_cell
from hubfast.report.titles import title_of


@dataclass(frozen=True)
class MetricCell:
    """One score of one model."""

    score: Cell
    place: str  # its place among the models that have the score, as `3` or `3=`
    share: float  # share of the others that it beats, for the shade
    note: str  # why there is no score


@dataclass(frozen=True)
class MetricRow:
    """One model's scores."""

    place: Cell
    name: str
    tied: bool
    consensus: Cell
    cells: list[MetricCell]


def metric_rows(ranking: Ranking) -> list[MetricRow]:
    """The scored models in order, with one cell per metric of the ranking."""
    columns = [_column([m.scores[metric] for m in ranking.scored]) for metric in ranking.metrics]
    places = decimals([m.score for m in ranking.scored], 2)
    return [
        MetricRow(
            place_cell(place),
            m.name,
            m.tied,
            Cell(number(m.score, places), m.score),
            [column[row] for column in columns],
        )
        for row, (place, m) in enumerate(zip(ranking.places, ranking.scored, strict=False))
    ]


def shares_beaten(ranking: Ranking) -> np.ndarray:
    """Share of the other models that each beats, `(models, metrics)`; NaN without a score."""
    columns = []
    for metric in ranking.metrics:
        cells = _column([m.scores[metric] for m in ranking.scored])
        columns.append([np.nan if c.score.value is None else c.share for c in cells])
    return np.array(columns).T


def side_by_side(ranking: Ranking) -> Section:
    """The section of a page that shows the metrics side by side."""
    body = render(
        "metrics.html",
        rows=metric_rows(ranking),
        silences=ranking.silences(),
        titles=[title_of(metric) for metric in ranking.metrics],
        missing=any(m.scores[k].score is None for m in ranking.scored for k in ranking.metrics),
    )
    return Section("Scores side by side", body, "scores")


def _column(scores: list[MetricScore]) -> list[MetricCell]:
    known = np.array([np.nan if s.score is None else s.score for s in scores], dtype=float)
    digits = decimals(known.tolist(), 3)
    present = np.isfinite(known) & [not s.void for s in scores]
    found = iter(places(known[present].tolist()))
    shares = iter(borda(known[present][None]).tolist()) if present.any() else iter(())
    cells = []
    for s, value, there in zip(scores, known, present, strict=True):
        if not there:
            text = number(value, digits) if s.void else MISSING
            cells.append(MetricCell(Cell(text, None), "", 0.0, s.void or s.error or ""))
            continue
        best = next(found)
        place = f"{best}{'=' if s.tied and best > 1 else ''}"
        cell = Cell(number(value, digits), float(value))
        cells.append(MetricCell(cell, place, next(shares), ""))
    return cells
