"""The point of a model that its row is of, chosen so that choosing does not flatter.

The best of many points is the best partly by luck, and its score on the samples that chose it is
too good. So the samples are parted in random halves: one half chooses, the other gives the score,
and the mean over many halves is the score of the row. Scores on halves need no new fit: a score
moves with its samples as a mean of their influences does (`hubfast.scores.bootstrap`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from hubfast.extraction.point_outputs import of_features
from hubfast.ranking.consensus import borda
from hubfast.ranking.rows import MetricScore, PointScore
from hubfast.scores.bootstrap import bootstrap
from hubfast.scores.registry import SCORES, Metric
from hubfast.scores.streamed import Scored

HALVES = 1000  # random halves, each of which chooses once and is chosen for once


@dataclass(frozen=True)
class PointResult:
    """The scores of one feature point."""

    name: str
    width: int | None
    scores: Mapping[str, Scored]
    errors: Mapping[str, str] = field(default_factory=dict)  # by metric that failed
    seconds: Mapping[str, float] = field(default_factory=dict)  # by metric
    fault: Exception | None = None  # why it has no score at all

    def void(self, metric: str) -> str:
        """Why a score says nothing; empty where it does, and where there is none."""
        scored = self.scores.get(metric)
        if scored is None or self.width is None:
            return ""
        return SCORES[metric].says_nothing(scored.count, self.width) or ""


class Chosen(NamedTuple):
    """The choice of a point."""

    best: int  # the point that most halves choose
    scores: Mapping[str, Scored]  # what the row has: values and influences, by metric
    shares: np.ndarray  # of the halves, that each point is chosen by, (P,)


def differing(points: Sequence[PointResult]) -> tuple[Metric, ...]:
    """The metrics that differ between points, of those that some point has a score of."""
    return of_features(tuple(dict.fromkeys(m for point in points for m in point.scores)))


def choose(points: Sequence[PointResult], metrics: Sequence[Metric], seed: int) -> Chosen:
    """Chooses between the points of one model by these metrics, all of which look at features.

    By one metric, a half of the samples chooses the point of the best score; by several, that of
    the best consensus (`hubfast.ranking.consensus.borda`). Each metric's value is the mean, over
    all halves, of the score that the other half gives to the chosen point. Its influence is that
    of the point that most halves choose, which spreads at least as much. A single point keeps its
    score to the last bit. Points that some metric has no score of, or whose score says nothing,
    are chosen only if no other is there.

    Args:
        points: The points.
        metrics: Those that some point has a score of.
        seed: Seed of the halves.
    """
    able = [i for i, point in enumerate(points) if _tells(point, metrics)]
    shares = np.zeros(len(points))
    if len(able) < 2 or not metrics:
        best = able[0] if able else 0
        shares[best] = 1.0
        return Chosen(
            best, {m: points[best].scores[m] for m in metrics if m in points[best].scores}, shares
        )
    found = [[points[i].scores[metric] for i in able] for metric in metrics]
    halves = _halves(len(found[0][0].influence), seed)
    shifts = np.stack([_shifts(row, halves) for row in found])  # (metrics, points, halves)
    whole = np.array([[one.score for one in row] for row in found])[..., None]
    chooses = whole + shifts
    votes = chooses[0] if len(metrics) == 1 else borda(chooses)
    taken = votes.argmax(0)  # the point that each half chooses
    shares[able] = np.bincount(taken, minlength=len(able)) / taken.size
    best = int(shares.argmax())
    given = (whole - shifts)[:, taken, np.arange(taken.size)].mean(1)
    row = {
        metric: replace(points[best].scores[metric], score=float(value))
        for metric, value in zip(metrics, given, strict=True)
    }
    return Chosen(best, row, shares)


def point_scores(
    points: Sequence[PointResult], shares: np.ndarray, layers: int, seed: int
) -> tuple[PointScore, ...]:
    """All points of a model for its row, each with its own score and interval.

    Args:
        points: The points.
        shares: Of the halves, that each is chosen by.
        layers: How many layers the model has.
        seed: Seed of the intervals.
    """
    found: list[dict[str, MetricScore]] = [
        {metric: MetricScore(error=why) for metric, why in point.errors.items()} for point in points
    ]
    for metric in dict.fromkeys(metric for point in points for metric in point.scores):
        have = [i for i, point in enumerate(points) if metric in point.scores]
        for i, value in zip(have, _values([points[i] for i in have], metric, seed), strict=True):
            found[i][metric] = value
    rows = zip(points, shares, found, strict=True)
    return tuple(
        PointScore(p.name, _depth(p.name, layers), p.width, float(share), scores)
        for p, share, scores in rows
    )


def _tells(point: PointResult, metrics: Sequence[Metric]) -> bool:
    """Whether all metrics tell something of a point."""
    have = [point.scores.get(metric) for metric in metrics]
    return not any(map(point.void, metrics)) and all(
        one is not None and np.isfinite(one.score) and bool(one.influence.isfinite().all())
        for one in have
    )


def _halves(rows: int, seed: int) -> np.ndarray:
    """1 for the samples that choose, -1 for those that give the score, `(rows, halves)`.

    Of an odd number of samples, one is in neither half. Each half is there with its opposite.
    """
    signs = np.zeros((HALVES // 2, rows), dtype=np.int8)
    signs[:, : rows // 2], signs[:, rows // 2 : rows // 2 * 2] = 1, -1
    signs = np.random.default_rng(seed).permuted(signs, axis=1)
    return np.concatenate([signs, -signs]).T.astype(np.float64)


def _shifts(scored: Sequence[Scored], halves: np.ndarray) -> np.ndarray:
    """How much better than on all samples each score is on each half, `(points, halves)`.

    Where influences of r of n samples are known, halves are those of n samples, none the less.
    """
    values = np.stack([one.influence.numpy() for one in scored])  # (points, r)
    rows = values.shape[1]
    centred = values - values.mean(1, keepdims=True)
    return centred @ halves / rows * np.sqrt(rows / scored[0].count)


def _depth(name: str, layers: int) -> int | None:
    layer = name.partition("/")[0]
    if layer == "last":
        return layers or None
    return None if layer == "mean" else int(layer)


def _values(points: Sequence[PointResult], metric: Metric, seed: int) -> list[MetricScore]:
    """The scores of points by one metric, each with its interval, all resampled alike."""
    scored = [point.scores[metric] for point in points]
    values, influences = [one.score for one in scored], [one.influence for one in scored]
    low, high, tied = bootstrap(values, influences, scored[0].count, seed)
    known = np.isfinite(low + high)
    return [
        MetricScore(
            one.score,
            float(low[i]) if known[i] else None,
            float(high[i]) if known[i] else None,
            bool(tied[i]),
            point.seconds.get(metric, 0.0),
            void=point.void(metric),
        )
        for i, (one, point) in enumerate(zip(scored, points, strict=True))
    ]
