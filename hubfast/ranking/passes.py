"""Runs the models of a hub over the samples, and scores each."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from rich.progress import Progress

from hubfast.extraction.engine import Engine
from hubfast.extraction.model_run import ModelRun
from hubfast.extraction.point_outputs import PointOutputs
from hubfast.extraction.points import PointFacts
from hubfast.hub import Source
from hubfast.hub.errors import one_line
from hubfast.ranking.budget import TimeIsUp
from hubfast.ranking.points import PointResult, choose, differing, point_scores
from hubfast.ranking.rows import RankedModel, Seconds
from hubfast.ranking.scoring import Outcome
from hubfast.scores.logme.expected import Expected
from hubfast.scores.streamed import Scored, StreamedScores


@dataclass(frozen=True)
class Finished:
    """What running all models gave."""

    outcomes: Sequence[Outcome]  # one for each model
    samples: int  # that the scores are of
    interrupted: bool = False
    notes: tuple[str, ...] = ()


def run_all(
    runs: Sequence[ModelRun],
    engine: Engine,
    bars: Progress,
    scored: Callable[[ModelRun, Outcome], object] = lambda run, outcome: None,
) -> Finished:
    """Runs all models over all samples: first over the first block, so that faults show early.

    A model that fails has its error as outcome. After Ctrl-C, and when the budget is spent, those
    that are done are scored; if none is, all are that have seen the first block, on that.

    Args:
        runs: The models.
        engine: What runs them.
        bars: Where progress is shown.
        scored: Called with the outcome of each model on the first block, and on all.
    """
    feed, found = engine.feed, _Found()

    def finish(run: ModelRun) -> None:
        """Scores a model that is done, while the others run, and forgets what it was scored by."""
        found.done[run] = outcome_of(run, engine, bars)
        run.forget()
        scored(run, found.done[run])

    try:
        engine.advance(runs, 0, 1, finish)
        # What comes from the cache is done before anybody stops it.
        for run in runs if len(feed) > 1 else ():
            if run.computed:
                found.early[run] = outcome_of(run, engine, bars)
                scored(run, found.early[run])
        engine.advance(runs, 1, len(feed), finish)
    except KeyboardInterrupt:
        return _interrupted(runs, engine, bars, found, "interrupted")
    except TimeIsUp as error:
        return _interrupted(runs, engine, bars, found, str(error))
    outcomes = [found.done.get(run) or outcome_of(run, engine, bars) for run in runs]
    return Finished(outcomes, _samples(runs))


@dataclass(frozen=True)
class _Found:
    """Outcomes so far."""

    early: dict[ModelRun, Outcome] = field(default_factory=dict)  # on the first block
    done: dict[ModelRun, Outcome] = field(default_factory=dict)  # on all


def _interrupted(
    runs: Sequence[ModelRun], engine: Engine, bars: Progress, found: _Found, why: str
) -> Finished:
    total, first = len(engine.feed.data), engine.feed.ends[0]
    whole = bool(found.done)
    known = dict(found.done)
    if not whole:
        seen = [run for run in runs if run.done == 1 and run not in found.early]
        known = {**found.early, **{run: outcome_of(run, engine, bars) for run in seen}}
    outcomes = [known.get(run) or _unfinished(run, total, why) for run in runs]
    if whole or not known:
        return Finished(outcomes, _samples(runs), interrupted=True)
    note = f"{why}: scores are of the first {first} of {total} samples"
    return Finished(outcomes, first, interrupted=True, notes=(note,))


def _samples(runs: Sequence[ModelRun]) -> int:
    return max((run.scores.count for run in runs), default=0)


def _unfinished(run: ModelRun, total: int, why: str) -> Outcome:
    if run.error:
        return failure(run.source, run.error)
    if not run.scores.count:
        return failure(run.source, f"not run: {why}")
    return failure(run.source, f"{why}, after {run.scores.count} of {total} samples")


def outcome_of(run: ModelRun, engine: Engine, bars: Progress) -> Outcome:
    """The scores of what a model has seen so far, or its fault."""
    if run.error:
        return failure(run.source, run.error)
    with engine.about(run):
        try:
            return score(run, bars)
        except Exception as error:  # any fault of one model must not lose the others
            return failure(run.source, one_line(error))


def score(run: ModelRun, bars: Progress) -> Outcome:
    """All scores of what a model has seen so far.

    Raises:
        Exception: None of its scores could be computed.
    """
    if run.known is None:  # no sample could be read, or none is needed
        run.load()
    known, scores = run.known, run.scores
    assert known is not None
    results = [_of_point(run, point, bars) for point in run.points]
    if all(result.fault for result in results):
        raise next(result.fault for result in results if result.fault)
    chosen = choose(results, differing(results), run.setting.seed)
    best, first = results[chosen.best], results[0]
    begun, foreseen = time.perf_counter(), _expected(run.points[chosen.best].scores)
    spent = {
        metric: sum(result.seconds.get(metric, 0.0) for result in results)
        for metric in scores.metrics
    }
    scoring = sum(spent.values()) + time.perf_counter() - begun
    took = run.spent
    said = (f"{count} of {scores.count} {what}" for what, count in run.tally.items())
    told = PointFacts(()) if run.told is None else run.told
    row = replace(
        _row(run.source),
        width=best.width,
        parameters=known.parameters,
        seconds=Seconds(took.load, took.prepare, took.forward, took.score + scoring),
        expected=foreseen,
        note="; ".join(filter(None, (run.source.note, *known.notes, *told.notes, *said))),
    )
    if not run.setting.options.points.default:
        every = point_scores(results, chosen.shares, told.layers, run.setting.seed)
        row = replace(row, point=best.name, points=every)
    found = {**first.scores, **chosen.scores}
    errors = {**first.errors, **best.errors}
    return Outcome(row, found, spent, {m: why for m, why in errors.items() if m not in found})


def _of_point(run: ModelRun, point: PointOutputs, bars: Progress) -> PointResult:
    """All scores of one feature point, of what its model has seen so far."""
    known, given, scores = run.known, run.source.imagenet, point.scores
    assert known is not None
    imagenet = known.imagenet if given is None else given
    found: dict[str, Scored] = {}
    seconds: dict[str, float] = {}
    faults: dict[str, Exception] = {}
    for metric in scores.metrics:
        bars.update(bars.task_ids[0], description=f"{run.source.name}: {metric}")
        begun = time.perf_counter()
        try:
            found[metric] = scores.score(metric, parameters=known.parameters, imagenet=imagenet)
        except Exception as error:  # one score's fault must not lose the others
            faults[metric] = error
        seconds[metric] = time.perf_counter() - begun
    return PointResult(
        point.name,
        point.width,
        found,
        {metric: one_line(error) for metric, error in faults.items()},
        seconds,
        None if found else next(reversed(faults.values())),
    )


def _expected(scores: StreamedScores) -> Expected | None:
    """What to expect of a linear model; None where there is none, as of samples of one class."""
    try:
        return scores.expected()
    except ValueError:  # the scores themselves are there, or say what is wrong
        return None


def failure(source: Source, why: str) -> Outcome:
    """The outcome of a model without a score."""
    return Outcome(replace(_row(source), error=why))


def _row(source: Source) -> RankedModel:
    return RankedModel(
        source.name,
        note=source.note,
        licence=source.licence,
        spec=source.spec,
        hub_file=source.hub_file,
    )
