"""rank(): runs every model of a hub over the target data once and scores it."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress

from hubfast.data import MAX_UNREADABLE, TargetData, as_target_data, class_sizes_note
from hubfast.data.checks import check_share
from hubfast.extraction.engine import Engine
from hubfast.extraction.feed import Feed
from hubfast.extraction.model_run import ModelRun, Setting, model_run
from hubfast.hub import Extraction, as_hub
from hubfast.ranking.arguments import (
    check_counts,
    check_target,
    chosen_cache,
    chosen_device,
    chosen_memory,
    chosen_metrics,
    chosen_workers,
    in_order,
    needs_logits,
)
from hubfast.ranking.consensus import CONSENSUS
from hubfast.ranking.passes import run_all
from hubfast.ranking.remarks import Remarks
from hubfast.ranking.result import Ranking
from hubfast.ranking.rows import RankedModel
from hubfast.ranking.scoring import Outcome, rank_rows
from hubfast.ranking.warned import Hearing, hearing
from hubfast.scores.inputs import Task
from hubfast.scores.registry import Metric
from hubfast.utils.allocator import freed_memory_kept
from hubfast.utils.global_state import global_state_kept
from hubfast.utils.progress import progress_bar


@global_state_kept()
@freed_memory_kept()
def rank(
    hub: Any,
    data: Any,
    *,
    metric: Metric = "logme",
    metrics: Sequence[Metric] | None = None,
    task: Task | None = None,
    samples: int | None = None,
    batch_size: int = 64,
    device: str | None = None,
    workers: int | None = None,
    seed: int = 0,
    trust: bool = False,
    max_unreadable: float = MAX_UNREADABLE,
    memory: int | str | None = None,
    cache: bool = True,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> Ranking:
    """Ranks the models of a hub for a target task, without fine-tuning any.

    Each sample is read and decoded once for all models, and each model runs once over all of
    them, in its own preprocessing. What it gives is kept in the cache, block by block: the same
    call goes on where it was stopped, and another metric, other labels or another subset of the
    samples need no model to run. One that fails becomes a row with its error. On Ctrl-C the models
    scored so far are ranked and returned. A module that is given comes back in its mode and on its device; random states, torch's threads and filters of
    warnings stay as they were. A score that says nothing for so few samples
    (`Score.says_nothing`) gives a model no place, and has no vote.

    Args:
        hub: Models; see `hubfast.hub.as_hub`: `["timm:resnet50.a1_in1k", my_module, "f.npy"]`.
        data: Samples and targets; see `hubfast.data.as_target_data`: a folder, a Dataset, arrays.
            Take training data: a ranking on test data selects on test data.
        metric: A score that `hubfast.scores.registry` lists: such as `"logme"`, `"knn"`,
            `"linear_probe"`, `"parameters"`, `"imagenet"` (any task), or for classes `"h_score"`,
            `"regularized_h_score"`, `"n_leep"`, `"transrate"`, `"gbc"`, `"sfda"`, `"parc"`,
            `"pactran"`, `"leep"`, `"nce"`; the last two need the source classifier's output.
        metrics: Several of these, from the same pass: the models are then ranked by their
            consensus (`consensus.borda`), and `metric` is not used. A metric that one model does
            not have, such as LEEP without a source classifier, is missing in its row.
        task: The task, as in `as_target_data`.
        samples: At most so many samples are used, drawn with classes in proportion; None for all.
            Scores that need samples, and no sums, are of 2,048 at most, and no more are read.
        batch_size: Samples per forward pass.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`; None for a GPU where there is one.
        workers: Processes that prepare samples; None for a few when a GPU runs the models.
        seed: Seed of the order in which samples are looked at, and of the intervals.
        memory: What decoded samples and loaded models may take together, such as `"2G"`; None for
            a quarter of the machine's. Where it is short, samples are taken in several stretches
            and models loaded once for each.
        cache: Keep what models give, and take what is kept. Modules and callables are kept only
            with a key; see `hubfast.hub.as_source`.
        cache_dir: The folder of the cache; None for the user's, or that of `HUBFAST_CACHE`.
        trust: Models may run code of their own; see `hubfast.hub.as_hub`.
        max_unreadable: Share of the samples that may be unreadable, such as corrupt images; these
            are left out for every model, and named in the notes of the ranking. So are warnings
            of libraries, each once; filters of `warnings` and levels of `logging` hold as ever.
        progress: Show bars with the time left.

    Raises:
        ValueError, TypeError: An argument is wrong; this is found before any model runs.
    """
    check_counts(batch_size=batch_size, samples=samples)
    check_share(max_unreadable)
    wanted, where = chosen_metrics(metric, metrics), chosen_device(device)
    room, store = chosen_memory(memory), chosen_cache(cache, cache_dir)
    workers = chosen_workers(workers, where)
    remarks = Remarks()
    with hearing(remarks.add) as heard, progress_bar(progress) as bars:
        sources = as_hub(hub, trust=trust, progress=progress)
        target = as_target_data(data, task=task, progress=progress)
        check_target(target, wanted)
        feed = Feed(
            in_order(target, wanted, samples, seed),
            memory=room - room // 4,
            max_unreadable=max_unreadable,
            workers=workers,
            ahead=where != "cpu",
            cache=store,
        )
        setting = Setting(
            feed,
            Extraction(batch_size, where, workers, logits=needs_logits(wanted, store)),
            seed,
            full=len(target) if target.positions is None else None,
            advanced=lambda run, count: bars.advance(bars.task_ids[0], count),
            loading=heard.listen,  # libraries that loading imported
        )
        with closing(feed):
            runs = [model_run(source, wanted, setting, store) for source in sources]
            engine = Engine(feed, room // 4, partial(_about, remarks, heard, bars))
            finished = run_all(runs, engine, bars)
            models = _ranked(finished.outcomes, wanted, seed)
    seen = feed.readable()
    said = remarks.lines([s.name for s in sources], _silences(models))
    return Ranking(
        models=models,
        metric=wanted[0] if len(wanted) == 1 else CONSENSUS,
        data=target.name,
        task=target.task,
        samples=finished.samples,
        classes=len(seen.targets.unique()) if target.task == "classification" else None,
        metrics=wanted if len(wanted) > 1 else (),
        location=str(data) if isinstance(data, str | Path) else "",
        notes=(*_notes(seen), *finished.notes, *said),
        interrupted=finished.interrupted,
        reading=feed.seconds,
    )


@contextmanager
def _about(remarks: Remarks, heard: Hearing, bars: Progress, run: ModelRun) -> Iterator[None]:
    """Opened around what is done for a model: what libraries say meanwhile is about it."""
    bars.update(bars.task_ids[0], description=run.source.name)
    with remarks.about(run.source.name):
        heard.listen()
        try:
            yield
        finally:
            heard.collect()


def _ranked(
    outcomes: Sequence[Outcome], metrics: Sequence[Metric], seed: int
) -> tuple[RankedModel, ...]:
    try:
        return rank_rows(outcomes, metrics, seed)
    except KeyboardInterrupt:  # every model has run: what they gave must not be lost
        return rank_rows(outcomes, metrics, seed)


def _silences(models: Sequence[RankedModel]) -> set[str]:
    """What the rows themselves say of scores that say nothing."""
    return {void for m in models for void in (m.void, *(s.void for s in m.scores.values())) if void}


def _notes(target: TargetData) -> tuple[str, ...]:
    uneven = class_sizes_note(target)
    return target.notes if uneven is None else (*target.notes, uneven)
