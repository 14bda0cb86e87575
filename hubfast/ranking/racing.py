"""Runs a race: the models that still matter go on, block by block."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.progress import Progress

from hubfast.extraction.engine import Engine
from hubfast.extraction.model_run import ModelRun
from hubfast.ranking.budget import Budget, TimeIsUp
from hubfast.ranking.passes import failure, outcome_of
from hubfast.ranking.places import descending
from hubfast.ranking.race import Race
from hubfast.ranking.race_record import RaceLook, RaceRecord
from hubfast.ranking.rows import RankedModel
from hubfast.ranking.scoring import Outcome
from hubfast.ranking.verdict import Standing, Verdict
from hubfast.scores.bootstrap import bootstrap

ORDER = {"accepted": 0, "in": 1, "dropped": 2, "failed": 3}
STANDINGS = {"accepted": "accepted", "in": "undecided", "dropped": "dropped"}


@dataclass(eq=False)
class RunningRace:
    """A race on its way.

    Args:
        race: Who goes on.
        runs: The models, by the names that the race has.
        engine: What runs them.
        bars: Where progress is shown.
        budget: The time that it may take.
        looked: Called with each verdict.
    """

    race: Race
    runs: Sequence[ModelRun]
    engine: Engine
    bars: Progress
    budget: Budget
    looked: Callable[[Verdict], object] = lambda verdict: None

    def __post_init__(self) -> None:
        self.stopped = False  # by its budget or by Ctrl-C
        self._outcomes: dict[str, Outcome] = {}  # of the last look of each model
        self._looks: list[RaceLook] = []

    def run(self) -> None:
        """Runs the race to its end, to the end of the budget, or to Ctrl-C."""
        while not self.race.verdict.over:
            try:
                self._look()
            except TimeIsUp as error:
                self.stopped = True
                self.race.stop(str(error))
            except KeyboardInterrupt:
                self.stopped = True
                self.race.stop("it was interrupted")

    @property
    def record(self) -> RaceRecord:
        """What is left of it."""
        rules, verdict = self.race.rules, self.race.verdict
        whole = len(self.runs) * self.race.looks[-1]
        seen = sum(self.engine.feed.ends[run.done - 1] for run in self.runs if run.done)
        looks = tuple(self._looks)
        return RaceRecord(
            rules.top, rules.confidence, rules.tolerance, seen / whole, verdict.why, looks
        )

    def rows(self, metric: str, seed: int) -> tuple[RankedModel, ...]:
        """The models: those accepted, best first, those undecided, those dropped, and failures."""
        verdict = self.race.verdict
        rows = [self._row(standing, metric, seed) for standing in verdict.standings]
        states = {s.name: ORDER[s.state] for s in verdict.standings}

        def place(row: RankedModel) -> tuple[object, ...]:
            seen = -(row.samples or 0) if row.standing == "dropped" else 0
            return row.score is None, states[row.name], seen, *descending(row.score)

        return tuple(sorted(rows, key=place))

    def _look(self) -> None:
        samples = self.race.next_look
        running = {standing.name for standing in self.race.verdict.running}
        runs = [run for run in self.runs if run.source.name in running]
        start = min(run.done for run in runs)
        self.engine.advance(runs, start, self.engine.feed.ends.index(samples) + 1)
        scores = {}
        for run in runs:
            outcome = outcome_of(run, self.engine, self.bars)
            self._outcomes[run.source.name] = outcome
            if outcome.scores:
                (scored,) = outcome.scores.values()
                void = any(outcome.void(metric) for metric in outcome.scores)
                value = np.nan if void else scored.score
                scores[run.source.name] = (value, scored.influence.numpy())
        failed = [run.source.name for run in runs if run.source.name not in scores]
        revived = [name for name in failed if self._out(name)]
        if not revived and not self.race.verdict.over:
            self.race.look(samples, scores)
        self._note()

    def _out(self, name: str) -> tuple[str, ...]:
        """Takes out a model that failed; gives those that are in the race again."""
        return () if self.race.verdict.over else self.race.remove(name)

    def _note(self) -> None:
        verdict = self.race.verdict
        self._looks.append(RaceLook(verdict.samples, self.budget.spent, verdict.standings))
        self.looked(verdict)
        running = {standing.name for standing in verdict.running}
        for run in self.runs:
            if run.loaded is not None and run.source.name not in running:
                self.engine.release(run)

    def _row(self, standing: Standing, metric: str, seed: int) -> RankedModel:
        outcome = self._outcomes.get(standing.name)
        if outcome is None:
            run = next(run for run in self.runs if run.source.name == standing.name)
            return failure(run.source, f"not run: {self.race.verdict.why}").row
        if metric not in outcome.scores:
            return outcome.row
        if standing.state == "failed":
            return replace(outcome.row, error=standing.why)
        scored = outcome.scores[metric]
        value = scored.score if standing.estimate is None else standing.estimate
        low, high, _ = bootstrap([value], [scored.influence], scored.count, seed)
        known = bool(np.isfinite(low[0]))
        return replace(
            outcome.row,
            score=value,
            low=float(low[0]) if known else None,
            high=float(high[0]) if known else None,
            void=outcome.void(metric),
            standing=STANDINGS[standing.state],
            samples=standing.samples,
            why=standing.why,
        )
