"""The scores of a ranking by several metrics, side by side."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from hubfast.ranking.table import MetricScore, Ranking
from hubfast.report.numbers import MISSING, decimals, number
from hubfast.report.page import Section, render
from hubfast.report.rows import Cell
from hubfast.report.titles import title_of


@dataclass(frozen=True)
class MetricCell:
    """One score of one model."""

    score: Cell
    place: str  # among the models that have it, as `3` or `3=`
    share: float  # of the others that it beats, for the shade
    note: str  # why there is none


@dataclass(frozen=True)
class MetricRow:
    """One model's scores."""

    rank: int
    name: str
    tied: bool
    consensus: Cell
    cells: list[MetricCell]


def metric_rows(ranking: Ranking) -> list[MetricRow]:
    """The scored models in order, a cell for each of `ranking.metrics`."""
    columns = [_column([m.scores[metric] for m in ranking.scored]) for metric in ranking.metrics]
    places = decimals([m.score for m in ranking.scored], 2)
    return [
        MetricRow(
            rank,
            m.name,
            m.tied,
            Cell(number(m.score, places), m.score),
            [column[rank - 1] for column in columns],
        )
        for rank, m in enumerate(ranking.scored, 1)
    ]


def shares_beaten(ranking: Ranking) -> np.ndarray:
    """Share of the other models that each beats by each metric, `(models, metrics)`; NaN: none."""
    columns = []
    for metric in ranking.metrics:
        cells = _column([m.scores[metric] for m in ranking.scored])
        columns.append([np.nan if c.score.value is None else c.share for c in cells])
    return np.array(columns).T


def side_by_side(ranking: Ranking) -> Section:
    """The section of a page."""
    body = render(
        "metrics.html",
        rows=metric_rows(ranking),
        titles=[title_of(metric) for metric in ranking.metrics],
        missing=any(m.scores[k].score is None for m in ranking.scored for k in ranking.metrics),
    )
    return Section("Scores side by side", body, "scores")


def _column(scores: list[MetricScore]) -> list[MetricCell]:
    known = np.array([np.nan if s.score is None else s.score for s in scores], dtype=float)
    digits = decimals(known.tolist(), 3)
    present = np.isfinite(known)
    ranks = np.full(len(known), np.nan)
    ranks[present] = rankdata(-known[present])
    count = int(present.sum())
    cells = []
    for s, value, rank in zip(scores, known, ranks, strict=True):
        if not np.isfinite(value):
            cells.append(MetricCell(Cell(MISSING, None), "", 0.0, s.error or ""))
            continue
        share = (count - rank) / (count - 1) if count > 1 else 1.0
        best = int((known[present] > value).sum()) + 1
        place = f"{best}{'=' if s.tied and best > 1 else ''}"
        cells.append(MetricCell(Cell(number(value, digits), value), place, float(share), ""))
    return cells
