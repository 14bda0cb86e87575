"""What the models of a ranking are doing right now, how far they are, and how long it takes."""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from hubfast.extraction.feed import Feed
from hubfast.extraction.model_run import ModelRun
from hubfast.ranking.budget import Budget
from hubfast.ranking.scoring import Outcome
from hubfast.ranking.verdict import Rules, Verdict
from hubfast.scores.bootstrap import bootstrap
from hubfast.utils.progress import Bars

Doing = Literal[
    "waiting", "loading", "running", "done", "accepted", "dropped", "undecided", "failed"
]
UNDER_WAY: tuple[Doing, ...] = ("loading", "running")
OVER: tuple[Doing, ...] = ("done", "accepted", "dropped", "undecided", "failed")


@dataclass(eq=False)
class WatchedModel:
    """One model, as it is now."""

    run: ModelRun
    doing: Doing = "waiting"
    samples: int = 0  # that it has seen
    score: float | None = None  # so far; in a race: the estimate after the last look
    low: float | None = None
    high: float | None = None
    why: str = ""  # it failed
    seconds: float = 0.0  # for samples that it was run on
    ran: int = 0  # these samples
    kept_seconds: float = 0.0  # for samples whose outputs were kept
    kept: int = 0  # these samples

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.run.source.name

    @property
    def pace(self) -> float | None:
        """Seconds for one sample; None as long as it has seen none."""
        if self.ran:
            return self.seconds / self.ran
        return self.kept_seconds / self.kept if self.kept else None


class Watch:
    """Follows the models of a ranking, and says where there is no terminal what becomes of each.

    Args:
        runs: The models.
        feed: The samples.
        budget: The time that they may take.
        bars: Where progress is shown.
        rules: Those of the race; None for a ranking in which nobody stops.
    """

    def __init__(
        self,
        runs: Sequence[ModelRun],
        feed: Feed,
        budget: Budget,
        bars: Bars,
        rules: Rules | None = None,
    ):
        self.models = [WatchedModel(run) for run in runs]
        self.total, self.rules = len(feed.data), rules
        self.scored_of = 0  # samples that scores are of; 0 in a race, for estimates for all
        self.workers = 1  # that run models
        self.changes = 0  # grows with each change of what is to be seen
        self._feed, self._budget, self._bars = feed, budget, bars
        self._by_run = {model.run: model for model in self.models}
        self._now: WatchedModel | None = None
        self._since = self._reading = 0.0  # when the present block began, and feed.seconds then
        self._task = bars.add_task(
            "models",
            total=len(runs) * self.total,
            left=self.seconds_left,
            at_most=rules is not None,
        )

    def begin(self, run: ModelRun) -> None:
        """Something is done for this model now."""
        self._now = model = self._by_run[run]
        unloaded = run.loaded is None and run.done < len(self._feed) and not run.away
        if model.doing not in OVER:
            model.doing = "loading" if unloaded else "running"
        self._mark()
        self._bars.update(self._task, description=model.name)

    def loaded(self) -> None:
        """The present model is loaded."""
        if self._now is not None and self._now.doing == "loading":
            self._now.doing = "running"
        self._mark()

    def advanced(self, count: int) -> None:
        """The present model has seen one more block of `count` samples."""
        model, elapsed = self._now, self._elapsed()
        self._bars.advance(self._task, count)
        if model is None:
            return
        model.samples += count
        if model.run.computed > model.ran:
            model.seconds, model.ran = model.seconds + elapsed, model.run.computed
        else:
            model.kept_seconds, model.kept = model.kept_seconds + elapsed, model.kept + count
        if model.doing == "loading":  # it was not needed: its outputs were kept
            model.doing = "running"
        self._mark()

    def working(self, runs: Collection[ModelRun], workers: int) -> None:
        """So many workers run these models now, and no others that are away."""
        self.workers = max(workers, 1)
        for model in self.models:
            if model.run.away and model.doing not in OVER:
                model.doing = "running" if model.run in runs else "waiting"
        self.changes += 1

    def took(self, run: ModelRun, seconds: float) -> None:
        """A worker has run a model over more samples in so many seconds."""
        model = self._by_run[run]
        model.seconds, model.ran = model.seconds + seconds, run.computed

    def end(self, run: ModelRun) -> None:
        """The present model pauses, or ends."""
        model, self._now = self._by_run[run], None
        model.samples = self._feed.ends[run.done - 1] if run.done else 0
        # Fewer than were counted where its weights were found to be others than those kept.
        self._bars.update(self._task, completed=sum(m.samples for m in self.models))
        if run.error and model.doing != "failed":
            self._fail(model, run.error)
        elif model.doing in UNDER_WAY:
            whole = run.done == len(self._feed) and self.rules is None
            model.doing = "done" if whole else "waiting"
            if whole:
                self._bars.say(f"{model.name} has seen {self._seen(model)}")
        self._mark()

    def scored(self, run: ModelRun, outcome: Outcome) -> None:
        """A model has its scores of what it has seen so far, or has failed."""
        model = self._by_run[run]
        if not outcome.scores and model.doing != "failed":
            self._fail(model, outcome.row.error or "")
        elif len(outcome.scores) == 1:  # a consensus is not known before all have scores
            (found,) = outcome.scores.values()
            if not isfinite(found.score):
                return
            low, high, _ = bootstrap([found.score], [found.influence], found.count, 0)
            ends = (float(low[0]), float(high[0]))
            model.score, self.scored_of = found.score, found.count
            model.low, model.high = ends if isfinite(sum(ends)) else (None, None)
        self._mark()

    def looked(self, verdict: Verdict) -> None:
        """A race has looked at its models."""
        for model in self.models:
            standing = verdict[model.name]
            known = standing.estimate is not None
            model.score = standing.estimate if known else standing.score
            model.low, model.high = standing.low, standing.high
            match standing.state:
                case "in":
                    model.doing = "undecided" if verdict.over else "waiting"
                case "failed":
                    model.doing, model.why = "failed", model.why or standing.why
                case other:
                    model.doing = other
        self._less()
        self._mark()
        said = f"look {verdict.looks} at {verdict.samples:,} of {self.total:,} samples"
        self._bars.say(f"{said}: {self.counts()}")

    def counts(self) -> str:
        """How many models there are of each kind: `1 accepted, 5 to go, 2 dropped`."""
        found = Counter(m.doing if m.doing in OVER else "to go" for m in self.models)
        order = ("accepted", "done", "to go", "undecided", "dropped", "failed")
        return ", ".join(f"{found[kind]} {kind}" for kind in order if found[kind])

    def seconds_left(self) -> float | None:
        """How long the models that still run take; in a race, if all of them go to the end.

        It is their measured seconds for each sample; those of the others stand for a model that
        has seen none, as do their seconds for loading. None before any has.
        """
        paces = [model.pace for model in self.models if model.pace is not None]
        if not paces:
            return None
        typical = sum(paces) / len(paces)
        loads = [load for model in self.models if (load := model.run.spent.load)]
        load = sum(loads) / len(loads) if loads else 0.0
        left, most = 0.0, 0
        for model in self.models:
            if model.doing in OVER:
                continue
            rest = self.total - model.samples
            need = rest * (typical if model.pace is None else model.pace)
            if not model.samples and not model.run.spent.load:
                need += load
            left += max(need - self._elapsed(), 0.0) if model is self._now else need
            most = max(most, rest)
        left /= self.workers
        read = max(model.samples for model in self.models)
        if read:
            left += self._feed.seconds / read * min(self.total - read, most)
        budget = self._budget.seconds
        return left if budget is None else max(min(left, budget - self._budget.spent), 0.0)

    def close(self) -> None:
        """The models have run."""
        self._bars.update(self._task, description="models")

    def _seen(self, model: WatchedModel) -> str:
        if model.samples == self.total:
            return f"all {self.total:,} samples"
        return f"{model.samples:,} of {self.total:,} samples"

    def _fail(self, model: WatchedModel, why: str) -> None:
        model.doing, model.why = "failed", why
        self._bars.say(f"{model.name} failed after {self._seen(model)}: {why}")
        self._less()

    def _less(self) -> None:
        """Models that stop early leave less to do."""
        every = (m.samples if m.doing in OVER else self.total for m in self.models)
        self._bars.update(self._task, total=sum(every))

    def _elapsed(self) -> float:
        """Seconds since the present block began, without those for reading its samples."""
        return time.perf_counter() - self._since - (self._feed.seconds - self._reading)

    def _mark(self) -> None:
        self._since, self._reading = time.perf_counter(), self._feed.seconds
        self.changes += 1
