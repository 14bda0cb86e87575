"""One ranking on its way: its models, its samples, and what libraries say meanwhile."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

from hubfast.data import TargetData, class_sizes_note
from hubfast.extraction.cluster.crew import Crew, PassingCache, runs_of
from hubfast.extraction.cluster.engine import ClusterEngine
from hubfast.extraction.cluster.messages import Reply
from hubfast.extraction.cluster.ray_cluster import Cluster
from hubfast.extraction.engine import Engine
from hubfast.extraction.feed import Feed
from hubfast.extraction.model_run import ModelRun
from hubfast.extraction.setting import Setting
from hubfast.hub import Source
from hubfast.ranking.budget import Budget
from hubfast.ranking.consensus import CONSENSUS
from hubfast.ranking.live import LiveTable
from hubfast.ranking.looks import look_sizes, nothing_to_race
from hubfast.ranking.passes import run_all
from hubfast.ranking.plan import Plan
from hubfast.ranking.race import Race
from hubfast.ranking.racing import RunningRace
from hubfast.ranking.remarks import Remarks
from hubfast.ranking.result import Ranking
from hubfast.ranking.rows import RankedModel
from hubfast.ranking.scoring import Outcome, rank_rows
from hubfast.ranking.verdict import Rules
from hubfast.ranking.warned import Hearing, hearing
from hubfast.ranking.watch import Watch
from hubfast.scores.registry import SCORES
from hubfast.utils.progress import Bars


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
        bars: Bars,
        remarks: Remarks,
        heard: Hearing,
    ):
        self.plan, self.target, self.bars = plan, target, bars
        self.remarks, self.heard = remarks, heard
        self.budget = Budget(plan.budget)
        with ExitStack() as self.open:  # what goes on beside the models ends here if this fails
            self._begin(sources)
            self.open = self.open.pop_all()

    def _begin(self, sources: Sequence[Source]) -> None:
        plan, target, bars = self.plan, self.target, self.bars
        for_models = plan.memory // 4
        passing = None
        if plan.cluster is not None:
            passing = self.open.enter_context(closing(PassingCache(plan.cache)))
        self.feed = Feed(
            plan.in_order(target),
            memory=plan.memory - for_models,
            max_unreadable=plan.max_unreadable,
            workers=plan.extraction.workers,
            ahead=plan.extraction.device != "cpu",
            cache=plan.cache or passing,
        )
        self.looks = look_sizes(len(self.feed.data), self._columns, self.feed.ends)
        setting = Setting(
            self.feed,
            plan.here,
            plan.seed,
            full=len(target) if target.positions is None else None,
            looks=self.looks if plan.rules is not None else (),
            advanced=self._advanced,
            loading=self._loaded,
        )
        self.crew = None
        if plan.cluster is not None and passing is not None:
            self.crew = self._hired(sources, setting, plan.cluster, passing)
        self.runs = runs_of(sources, plan.metrics, setting, plan.cache, self.crew)
        self.engine = self._engine(for_models)
        self.open.callback(self.engine.close)
        rules, self.alone = plan.rules, ""  # why nobody can be stopped
        if rules is not None:
            self.alone = nothing_to_race(len(sources), rules.top, self.looks)
        rules = None if self.alone else rules
        self.watch = Watch(self.runs, self.feed, self.budget, bars, rules)
        bars.show(LiveTable(self.watch, f"{self._metric} of {len(sources)} models"))

    def ranking(self, location: str) -> Ranking:
        """Runs the models and ranks them.

        Args:
            location: Where the data is, as its user wrote it.
        """
        rules = self.watch.rules
        found = self._all() if rules is None else self._raced(rules)
        return self._described(found, (self.alone,) if self.alone else (), location)

    def close(self) -> None:
        """Ends what goes on beside the models."""
        self.open.close()

    def _hired(
        self,
        sources: Sequence[Source],
        setting: Setting,
        cluster: Cluster,
        passing: PassingCache,
    ) -> Crew:
        plan = self.plan
        crew = Crew(
            cluster,
            self.feed,
            sources,
            plan.metrics,
            options=plan.extraction,
            seed=plan.seed,
            full=setting.full,
            memory=plan.node_memory,
            cache=plan.cache,
            passing=passing,
            hearing=hearing,
            tick=self.budget.check,
            stays=plan.rules is None,
        )
        return self.open.enter_context(closing(crew))

    def _engine(self, memory: int) -> Engine:
        if self.crew is None or self.crew.pool is None:
            return Engine(self.feed, memory, self._about)
        return ClusterEngine(
            self.feed,
            memory,
            self._about,
            crew=self.crew,
            runs=self.runs,
            tick=self.budget.check,
            working=self._working,
            told=self._told,
        )

    def _all(self) -> dict[str, Any]:
        done = run_all(self.runs, self.engine, self.bars, self.watch.scored)
        self.watch.close()
        models = _ranked(done.outcomes, self.plan)
        return {
            "models": models,
            "samples": done.samples,
            "notes": done.notes,
            "interrupted": done.interrupted,
        }

    def _raced(self, rules: Rules) -> dict[str, Any]:
        metric = self.plan.metrics[0]
        race = Race(
            [run.source.name for run in self.runs], self.looks, rules, SCORES[metric].growth
        )
        running = RunningRace(
            race, self.runs, self.engine, self.bars, self.budget, self.watch.looked
        )
        running.run()
        self.watch.close()
        rows = running.rows(metric, self.plan.seed)
        return {
            "models": tuple(replace(m, samples=self._readable(m.samples)) for m in rows),
            "samples": len(self.feed.data) - len(self.feed.findings.faults),
            "notes": (),
            "interrupted": running.stopped,
            "race": running.record,
        }

    def _readable(self, samples: int | None) -> int | None:
        """How many of the first samples could be read; None for None."""
        if samples is None:
            return None
        ends = enumerate(self.feed.ends)
        return sum(len(self.feed.known(index)) for index, end in ends if end <= samples)

    def _described(self, found: dict[str, Any], notes: tuple[str, ...], location: str) -> Ranking:
        self.heard.collect()
        seen, metrics = self.feed.readable(), self.plan.metrics
        uneven = class_sizes_note(seen) if len(seen) else None  # no model came so far
        names = [run.source.name for run in self.runs]
        said = self.remarks.lines(names, _silences(found["models"]))
        about_data = seen.notes if uneven is None else (*seen.notes, uneven)
        classified = seen.task == "classification"
        of_workers = () if self.crew is None else self.crew.notes
        return Ranking(
            **{**found, "notes": (*about_data, *found["notes"], *notes, *of_workers, *said)},
            metric=self._metric,
            data=self.target.name,
            task=self.target.task,
            classes=len(seen.targets.unique()) if classified else None,
            metrics=metrics if len(metrics) > 1 else (),
            location=location,
            reading=self.feed.seconds,
        )

    @property
    def _metric(self) -> str:
        metrics = self.plan.metrics
        return metrics[0] if len(metrics) == 1 else CONSENSUS

    @property
    def _columns(self) -> int:
        targets = self.feed.data.targets
        return len(targets.unique()) if targets.ndim == 1 else targets.shape[1]

    def _advanced(self, count: int) -> None:
        self.watch.advanced(count)
        self.budget.check()

    def _loaded(self) -> None:
        self.watch.loaded()
        self.heard.listen()  # libraries that loading imported

    def _working(self, runs: Collection[ModelRun], workers: int) -> None:
        self.watch.working(runs, workers)

    def _told(self, run: ModelRun, reply: Reply) -> None:
        """A worker has answered."""
        if reply.computed:
            self.watch.took(run, reply.spent.prepare + reply.spent.forward)
        with self.remarks.about(run.source.name):
            for text in reply.said:
                self.remarks.add(text)

    @contextmanager
    def _about(self, run: ModelRun) -> Iterator[None]:
        """Opened around what is done for a model: what libraries say meanwhile is about it."""
        self.watch.begin(run)
        with self.remarks.about(run.source.name):
            self.heard.listen()
            try:
                yield
            finally:
                self.heard.collect()
                self.watch.end(run)


def _ranked(outcomes: Sequence[Outcome], plan: Plan) -> tuple[RankedModel, ...]:
    try:
        return rank_rows(outcomes, plan.metrics, plan.seed)
    except KeyboardInterrupt:  # every model has run: what they gave must not be lost
        return rank_rows(outcomes, plan.metrics, plan.seed)


def _silences(models: Sequence[RankedModel]) -> set[str]:
    """What the rows themselves say of scores that say nothing."""
    return {void for m in models for void in (m.void, *(s.void for s in m.scores.values())) if void}
