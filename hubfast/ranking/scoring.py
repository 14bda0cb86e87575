"""From each model's scores and influences to the rows of a ranking."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hubfast.ranking.consensus import borda, resampled_borda
from hubfast.ranking.table import MetricScore, RankedModel
from hubfast.scores.bootstrap import RESAMPLES, intervals, resampled
from hubfast.scores.metric import Metric
from hubfast.scores.streamed import Scored


@dataclass(frozen=True)
class Outcome:
    """What running one model gave; without `scores` it failed."""

    row: RankedModel
    scores: Mapping[str, Scored] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)  # by metric
    errors: Mapping[str, str] = field(default_factory=dict)  # of metrics that failed


def rank_rows(
    outcomes: Sequence[Outcome], metrics: Sequence[Metric], seed: int
) -> tuple[RankedModel, ...]:
    """The models best first, failures last: by the one metric, or by the consensus of several."""
    scored = [o for o in outcomes if o.scores]
    rows: list[RankedModel] = []
    if scored:
        single = len(metrics) == 1
        rows = _single(scored, metrics[0], seed) if single else _several(scored, metrics, seed)
    rows.sort(key=lambda row: -float(row.score or 0.0))
    return (*rows, *(o.row for o in outcomes if not o.scores))


def _single(scored: Sequence[Outcome], metric: Metric, seed: int) -> list[RankedModel]:
    found = _metric_scores(scored, metric, seed)[0]
    return [
        replace(o.row, score=s.score, low=s.low, high=s.high, tied=s.tied)
        for o, s in zip(scored, found, strict=True)
    ]


def _several(scored: Sequence[Outcome], metrics: Sequence[Metric], seed: int) -> list[RankedModel]:
    columns, samples = [], []
    for metric in metrics:
        column, resamples = _metric_scores(scored, metric, seed)
        columns.append(column)
        samples.append(resamples)
    values = np.array([[np.nan if s.score is None else s.score for s in c] for c in columns])
    # A model whose every score is infinite or NaN beats nobody.
    consensus = [float(value) for value in np.nan_to_num(borda(values))]
    found = intervals(consensus, np.nan_to_num(resampled_borda(samples)))
    return [
        replace(
            o.row,
            score=consensus[i],
            low=float(found.low[i]),
            high=float(found.high[i]),
            tied=bool(found.tied[i]),
            scores={metric: columns[k][i] for k, metric in enumerate(metrics)},
        )
        for i, o in enumerate(scored)
    ]


def _metric_scores(
    scored: Sequence[Outcome], metric: Metric, seed: int
) -> tuple[list[MetricScore], np.ndarray]:
    """One metric of all models, and its resamples `(M, resamples)`: NaN where there is no score."""
    have = [i for i, o in enumerate(scored) if metric in o.scores]
    rows = [
        MetricScore(seconds=o.seconds.get(metric, 0.0), error=o.errors.get(metric)) for o in scored
    ]
    if not have:
        return rows, np.full((len(scored), RESAMPLES), np.nan)
    parts = [scored[i].scores[metric] for i in have]
    values = [part.score for part in parts]
    samples = resampled(values, [part.influence for part in parts], parts[0].count, seed)
    found = intervals(values, samples)
    every = np.full((len(scored), samples.shape[1]), np.nan)
    for position, (i, low, high, tied) in enumerate(zip(have, *found, strict=True)):
        ends = (None, None) if math.isnan(low) else (float(low), float(high))
        rows[i] = replace(
            rows[i], score=values[position], low=ends[0], high=ends[1], tied=bool(tied)
        )
        # A score without an interval still votes: as it is.
        steady = math.isnan(low)
        every[i] = values[position] if steady else samples[position]
    return rows, every
