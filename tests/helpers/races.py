"""Races that were really run, on scores that are drawn."""

from dataclasses import replace

import numpy as np

from hubfast.ranking.looks import look_sizes
from hubfast.ranking.race import Race
from hubfast.ranking.race_record import RaceLook, RaceRecord
from hubfast.ranking.racing import ORDER, STANDINGS
from hubfast.ranking.result import Ranking
from hubfast.ranking.rows import RankedModel, Seconds
from hubfast.ranking.verdict import Rules

KEPT = 512  # samples whose influences count


def race_of(race, scores, until=None):
    """Runs a race: `scores[name]` has an influence for each sample, its mean is the score.

    Args:
        race: The race.
        scores: The influences, `(N,)` for each model.
        until: The number of looks behind which the budget is spent; None for no budget.
    """
    looks = []
    while not race.verdict.over:
        n = race.next_look
        every = {s.name: scores[s.name][:n] for s in race.verdict.running}
        race.look(n, {name: (x.mean(), x[:KEPT] - x.mean()) for name, x in every.items()})
        looks.append(RaceLook(n, 2.0 * len(looks), race.verdict.standings))
        if len(looks) == until and not race.verdict.over:
            race.stop("the budget of 10 min is spent")
    return tuple(looks)


def raced(count=12, *, top=3, samples=8000, gap=0.04, until=None, failing=(), name="net_{}"):
    """A ranking of models whose true scores are `gap` apart, found by a race."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=samples)
    names = [name.format(i) for i in range(count)]
    scores = {
        n: 0.7 - gap * i + 0.5 * common + 0.3 * rng.normal(size=samples)
        for i, n in enumerate(names)
    }
    race = Race(names, look_sizes(samples, 10), Rules(top), "none")
    for fault in failing:
        race.remove(fault)
    looks = race_of(race, scores, until)
    passes = sum(s.samples for s in race.verdict.standings) / (count * samples)
    record = RaceRecord(top, 0.95, 0.0, passes, race.verdict.why, looks)
    rows = [_row(i, s) for i, s in enumerate(race.verdict.standings)]
    rows.sort(key=lambda m: (m.score is None, _order(m), -(m.score or 0.0)))
    return Ranking(
        tuple(rows),
        metric="logme",
        data="flowers",
        task="classification",
        samples=samples,
        classes=10,
        interrupted=until is not None,
        race=record,
        reading=3.0,
    )


def _order(m):
    return {STANDINGS.get(state): at for state, at in ORDER.items()}.get(m.standing, 9)


def _row(i, s):
    row = RankedModel(
        s.name,
        width=64,
        parameters=1_000_000 * (i + 1),
        seconds=Seconds(0.5, 0.25, 0.001 * s.samples, 0.125),
    )
    if s.state == "failed":
        return replace(row, error="OutOfMemoryError: no room")
    value = s.score if s.estimate is None else s.estimate
    return replace(
        row,
        score=value,
        low=value - 0.02,
        high=value + 0.02,
        samples=s.samples,
        standing=STANDINGS[s.state],
        why=s.why,
    )
