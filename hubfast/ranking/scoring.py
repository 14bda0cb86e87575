"""From each model's scores and influences to the rows of a ranking."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hubfast.ranking.consensus import borda, resampled_borda
from hubfast.ranking.places import descending
from hubfast.ranking.rows import MetricScore, RankedModel
from hubfast.scores.bootstrap import RESAMPLES, intervals, resampled
from hubfast.scores.registry import SCORES, Metric
from hubfast.scores.streamed import Scored


@dataclass(frozen=True)
class Outcome:
    """What running one model gave; without `scores` it failed."""

    row: RankedModel
    scores: Mapping[str, Scored] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)  # seconds by metric
    errors: Mapping[str, str] = field(default_factory=dict)  # by metric that failed

    def void(self, metric: str) -> str:
        """Why this score says nothing; empty where it does, and where there is none."""
        fitted, width = self.scores.get(metric), self.row.width
        if fitted is None or width is None:
            return ""
        return SCORES[metric].says_nothing(fitted.count, width) or ""


def rank_rows(
    outcomes: Sequence[Outcome], metrics: Sequence[Metric], seed: int
) -> tuple[RankedModel, ...]:
    """Orders the models, best first, by the one metric or by the consensus of several.

    Those whose score says nothing come behind them, and failures last.
    """
    scored = [o for o in outcomes if o.scores]
    rows: list[RankedModel] = []
    if scored:
        single = len(metrics) == 1
        rows = _single(scored, metrics[0], seed) if single else _several(scored, metrics, seed)
    rows.sort(key=lambda row: (row.score is None, bool(row.void), *descending(row.score)))
    return (*rows, *(o.row for o in outcomes if not o.scores))


def _single(scored: Sequence[Outcome], metric: Metric, seed: int) -> list[RankedModel]:
    scores = _metric_scores(scored, metric, seed)[0]
    return [
        replace(
            o.row,
            score=s.score,
            low=s.low,
            high=s.high,
            tied=s.tied,
            void=s.void,
            error=s.error if s.score is None else o.row.error,
        )
        for o, s in zip(scored, scores, strict=True)
    ]


def _several(scored: Sequence[Outcome], metrics: Sequence[Metric], seed: int) -> list[RankedModel]:
    columns, samples = [], []
    for metric in metrics:
        column, resamples = _metric_scores(scored, metric, seed)
        columns.append(column)
        samples.append(resamples)
    values = np.array([[_vote(s) for s in column] for column in columns])
    consensus = [float(value) for value in np.nan_to_num(borda(values))]
    interval = intervals(consensus, np.nan_to_num(resampled_borda(samples)))
    rows = []
    for i, o in enumerate(scored):
        alone: dict[str, MetricScore] = {m: columns[k][i] for k, m in enumerate(metrics)}
        row = replace(
            o.row,
            score=consensus[i],
            low=float(interval.low[i]),
            high=float(interval.high[i]),
            tied=bool(interval.tied[i]),
            scores=alone,
        )
        if all(s.score is None or s.void for s in alone.values()):  # it beats nobody
            why = [s.void or f"{m}: {s.error}" for m, s in alone.items() if s.void or s.error]
            row = replace(o.row, scores=alone, error="; ".join(why))
        rows.append(row)
    return rows


def _vote(s: MetricScore) -> float:
    return np.nan if s.score is None or s.void else s.score


def _metric_scores(
    scored: Sequence[Outcome], metric: Metric, seed: int
) -> tuple[list[MetricScore], np.ndarray]:
    """One metric of all models, and its resamples `(M, resamples)`: NaN where there is no score."""
    rows = [
        MetricScore(
            score=o.scores[metric].score if metric in o.scores else None,
            seconds=o.seconds.get(metric, 0.0),
            error=o.errors.get(metric),
            void=o.void(metric),
        )
        for o in scored
    ]
    have = [i for i, s in enumerate(rows) if s.score is not None and not s.void]
    every = np.full((len(scored), RESAMPLES), np.nan)
    if not have:
        return rows, every
    parts = [scored[i].scores[metric] for i in have]
    values = [part.score for part in parts]
    samples = resampled(values, [part.influence for part in parts], parts[0].count, seed)
    interval = intervals(values, samples)
    for position, (i, low, high, tied) in enumerate(zip(have, *interval, strict=True)):
        steady = math.isnan(low)  # a score without an interval still votes: as it is
        ends = (None, None) if steady else (float(low), float(high))
        rows[i] = replace(rows[i], low=ends[0], high=ends[1], tied=bool(tied))
        every[i] = values[position] if steady else samples[position]
    return rows, every
