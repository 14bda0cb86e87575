"""One ranking on its way: its models, its samples, and what libraries say meanwhile."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.progress import Progress

from hubfast.data import TargetData, class_sizes_note
from hubfast.extraction.engine import Engine
from hubfast.extraction.feed import Feed
from hubfast.extraction.model_run import ModelRun, Setting
from hubfast.hub import Source
from hubfast.ranking.budget import Budget
from hubfast.ranking.consensus import CONSENSUS
from hubfast.ranking.looks import look_sizes, nothing_to_race
from hubfast.ranking.passes import run_all
from hubfast.ranking.plan import Plan
from hubfast.ranking.race import Race
from hubfast.ranking.racing import RunningRace
from hubfast.ranking.remarks import Remarks
from hubfast.ranking.result import Ranking
from hubfast.ranking.rows import RankedModel
from hubfast.ranking.scoring import Outcome, rank_rows
from hubfast.ranking.warned import Hearing
from hubfast.scores.registry import SCORES


class Session:
    """Runs the models of a hub as a plan says.

    Args:
        plan: The plan.
        sources: The models.
        target: The target data.
        bars: Where progress is shown.
        remarks: What libraries say.
        heard: What the remarks come from.
    """

    def __init__(
        self,
        plan: Plan,
        sources: Sequence[Source],
        target: TargetData,
        bars: Progress,
        remarks: Remarks,
        heard: Hearing,
    ):
        self.plan, self.target, self.bars = plan, target, bars
        self.remarks, self.heard = remarks, heard
        self.budget = Budget(plan.budget)
        for_models = plan.memory // 4
        self.feed = Feed(
            plan.in_order(target),
            memory=plan.memory - for_models,
            max_unreadable=plan.max_unreadable,
            workers=plan.extraction.workers,
            ahead=plan.extraction.device != "cpu",
            cache=plan.cache,
        )
        setting = Setting(
            self.feed,
            plan.extraction,
            plan.seed,
            full=len(target) if target.positions is None else None,
            advanced=self._advanced,
            loading=heard.listen,  # libraries that loading imported
        )
        self._bar = bars.add_task("models", total=len(sources) * len(self.feed.data))
        self.runs = [ModelRun(source, plan.metrics, setting, plan.cache) for source in sources]
        self.engine = Engine(self.feed, for_models, self._about)

    def ranking(self, location: str) -> Ranking:
        """Runs the models and ranks them.

        Args:
            location: Where the data is, as its user wrote it.
        """
        looks = look_sizes(len(self.feed.data), self._columns)
        rules = self.plan.rules
        alone = "" if rules is None else nothing_to_race(len(self.runs), rules.top, looks)
        if rules is None or alone:
            found = self._all()
        else:
            metric = self.plan.metrics[0]
            names = [run.source.name for run in self.runs]
            race = Race(names, looks, rules, SCORES[metric].growth)
            found = self._raced(RunningRace(race, self.runs, self.engine, self.bars, self.budget))
        return self._described(found, (alone,) if alone else (), location)

    def close(self) -> None:
        """Ends what goes on beside the models."""
        self.engine.close()

    def _all(self) -> dict[str, Any]:
        done = run_all(self.runs, self.engine, self.bars)
        self.bars.update(self._bar, description="models")
        models = _ranked(done.outcomes, self.plan)
        return {
            "models": models,
            "samples": done.samples,
            "notes": done.notes,
            "interrupted": done.interrupted,
        }

    def _raced(self, running: RunningRace) -> dict[str, Any]:
        running.run()
        self.bars.update(self._bar, description="models")
        record = running.record
        return {
            "models": running.rows(self.plan.metrics[0], self.plan.seed),
            "samples": max((run.scores.count for run in self.runs), default=0),
            "notes": (str(record),),
            "interrupted": running.stopped,
            "race": record,
        }

    def _described(self, found: dict[str, Any], notes: tuple[str, ...], location: str) -> Ranking:
        self.heard.collect()
        seen, metrics = self.feed.readable(), self.plan.metrics
        uneven = class_sizes_note(seen)
        names = [run.source.name for run in self.runs]
        said = self.remarks.lines(names, _silences(found["models"]))
        about_data = seen.notes if uneven is None else (*seen.notes, uneven)
        classified = seen.task == "classification"
        return Ranking(
            **{**found, "notes": (*about_data, *found["notes"], *notes, *said)},
            metric=metrics[0] if len(metrics) == 1 else CONSENSUS,
            data=self.target.name,
            task=self.target.task,
            classes=len(seen.targets.unique()) if classified else None,
            metrics=metrics if len(metrics) > 1 else (),
            location=location,
            reading=self.feed.seconds,
        )

    @property
    def _columns(self) -> int:
        targets = self.feed.data.targets
        return len(targets.unique()) if targets.ndim == 1 else targets.shape[1]

    def _advanced(self, count: int) -> None:
        self.bars.advance(self._bar, count)
        self.budget.check()

    @contextmanager
    def _about(self, run: ModelRun) -> Iterator[None]:
        """Opened around what is done for a model: what libraries say meanwhile is about it."""
        self.bars.update(self._bar, description=run.source.name)
        with self.remarks.about(run.source.name):
            self.heard.listen()
            try:
                yield
            finally:
                self.heard.collect()


def _ranked(outcomes: Sequence[Outcome], plan: Plan) -> tuple[RankedModel, ...]:
    try:
        return rank_rows(outcomes, plan.metrics, plan.seed)
    except KeyboardInterrupt:  # every model has run: what they gave must not be lost
        return rank_rows(outcomes, plan.metrics, plan.seed)


def _silences(models: Sequence[RankedModel]) -> set[str]:
    """What the rows themselves say of scores that say nothing."""
    return {void for m in models for void in (m.void, *(s.void for s in m.scores.values())) if void}
