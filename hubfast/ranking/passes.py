"""Runs the models of a hub over the data, one after the other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from weakref import ReferenceType, ref

from rich.progress import Progress

from hubfast.data import TargetData
from hubfast.hub import Extraction, Source
from hubfast.hub.errors import one_line
from hubfast.ranking.remarks import Remarks
from hubfast.ranking.rows import RankedModel, Seconds
from hubfast.ranking.scoring import Outcome
from hubfast.ranking.warned import Hearing
from hubfast.scores.registry import Metric
from hubfast.scores.streamed import Rows, Scored, StreamedScores
from hubfast.utils.allocator import give_back_memory
from hubfast.utils.defaults import usual_defaults

INTERRUPTED = "not run: interrupted"


@dataclass(frozen=True)
class Pass:
    """What every model of a hub is run with."""

    target: TargetData
    metrics: Sequence[Metric]
    options: Extraction
    rows: Rows
    bars: Progress
    remarks: Remarks
    heard: Hearing  # what the remarks come from
    loaded: list[ReferenceType[object]] = field(default_factory=list)  # parts of the present model


def run_all(sources: Sequence[Source], run: Pass) -> list[Outcome]:
    """Runs all models. One that fails has its error as outcome; after Ctrl-C so have the rest."""
    overall = run.bars.add_task("", total=len(sources) * len(run.target))
    outcomes: list[Outcome] = []
    for position, source in enumerate(sources):
        try:
            run.bars.update(overall, description=f"{position + 1}/{len(sources)} {source.name}")
            with run.remarks.about(source.name):
                outcomes.append(_outcome(source, run))
            give_back_memory(garbage=any(part() is not None for part in run.loaded))
            run.loaded.clear()
            run.bars.update(overall, completed=(position + 1) * len(run.target))
        except KeyboardInterrupt:
            outcomes += [_failure(s, INTERRUPTED) for s in sources[len(outcomes) :]]
            break
    run.bars.update(overall, description="models")
    return outcomes


def _outcome(source: Source, run: Pass) -> Outcome:
    run.heard.listen()
    try:
        return _run(source, run)
    except Exception as error:  # any fault of one model must not lose the others
        return _failure(source, one_line(error))
    finally:
        run.heard.collect()


def _run(source: Source, run: Pass) -> Outcome:
    scorer = StreamedScores(run.metrics, run.target.targets, run.target.task, run.rows)
    started = time.perf_counter()
    with usual_defaults():
        model = source.load()
    if source.spec is not None:  # else it may be its user's own, who keeps it
        run.loaded[:] = _references(model, getattr(model, "run", None))
    run.heard.listen()  # libraries that loading imported
    loaded = time.perf_counter()
    prepare = forward = score = 0.0
    width = None
    for batch in model.batches(run.target, run.options):
        begun = time.perf_counter()
        scorer.update(batch.index, batch.features, batch.logits)
        prepare, forward = prepare + batch.prepare_seconds, forward + batch.forward_seconds
        score += time.perf_counter() - begun
        width = batch.features.shape[1]
        run.bars.advance(run.bars.task_ids[0], len(batch.index))
    imagenet = model.imagenet if source.imagenet is None else source.imagenet
    scores: dict[str, Scored] = {}
    spent: dict[str, float] = {}
    errors: dict[str, str] = {}
    for metric in scorer.metrics:
        run.bars.update(run.bars.task_ids[0], description=f"{source.name}: {metric}")
        begun = time.perf_counter()
        try:
            scores[metric] = scorer.score(metric, parameters=model.parameters, imagenet=imagenet)
        except Exception as error:  # one score's fault must not lose the others
            errors[metric] = one_line(error)
            if len(errors) == len(scorer.metrics):
                raise
        spent[metric] = time.perf_counter() - begun
    seconds = Seconds(loaded - started, prepare, forward, score + sum(spent.values()))
    note = "; ".join(filter(None, (source.note, *getattr(model, "notes", ()))))
    row = replace(
        _row(source), width=width, parameters=model.parameters, seconds=seconds, note=note
    )
    return Outcome(row, scores, spent, errors)


def _references(*parts: object) -> list[ReferenceType[object]]:
    """Weak references to those parts that can have them."""
    return [ref(part) for part in parts if getattr(type(part), "__weakrefoffset__", 0)]


def _failure(source: Source, why: str) -> Outcome:
    return Outcome(replace(_row(source), error=why))


def _row(source: Source) -> RankedModel:
    return RankedModel(
        source.name,
        note=source.note,
        licence=source.licence,
        spec=source.spec,
        hub_file=source.hub_file,
    )
