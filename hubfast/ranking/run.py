"""rank(): runs every model of a hub over the target data once and scores it."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hubfast.data import (
    MAX_UNREADABLE,
    TargetData,
    as_target_data,
    class_sizes_note,
    readable,
)
from hubfast.hub import Extraction, as_hub
from hubfast.ranking.consensus import CONSENSUS
from hubfast.ranking.passes import Pass, run_all
from hubfast.ranking.remarks import Remarks
from hubfast.ranking.result import Ranking
from hubfast.ranking.rows import RankedModel
from hubfast.ranking.scoring import Outcome, rank_rows
from hubfast.ranking.warned import hearing
from hubfast.scores.inputs import Task
from hubfast.scores.registry import SCORES, Metric, check_metrics
from hubfast.scores.streamed import Rows
from hubfast.utils.global_state import global_state_kept
from hubfast.utils.progress import progress_bar

INTERVAL_SAMPLES = 512  # samples whose influence is computed: its spread is then known within 3 %
KEPT_SAMPLES = 2048  # samples whose features are kept for scores that need them: 16 MiB at D = 2048


@global_state_kept()
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
    progress: bool = True,
) -> Ranking:
    """Ranks the models of a hub for a target task, without fine-tuning any.

    Each model runs once over the data, in its own preprocessing. One that fails becomes a row
    with its error. On Ctrl-C the models scored so far are ranked and returned. A module that is
    given comes back in its mode and on its device; random states, torch's threads and filters of
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
        batch_size: Samples per forward pass.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`; None for a GPU where there is one.
        workers: Processes that prepare samples; None for a few when a GPU runs the models.
        seed: Seed of the subsample and of the intervals.
        trust: Models may run code of their own; see `hubfast.hub.as_hub`.
        max_unreadable: Share of the samples that may be unreadable, such as corrupt images; these
            are left out for every model, and named in the notes of the ranking. So are warnings
            of libraries, each once; filters of `warnings` and levels of `logging` hold as ever.
        progress: Show bars with the time left.

    Raises:
        ValueError, TypeError: An argument is wrong; this is found before any model runs.
    """
    for name, value in (("batch_size", batch_size), ("samples", samples)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    device = _device(device)
    chosen: tuple[Metric, ...] = (metric,) if metrics is None else tuple(metrics)
    remarks = Remarks()
    with hearing(remarks.add) as heard:
        sources = as_hub(hub, trust=trust, progress=progress)
        target = as_target_data(data, task=task, progress=progress).sample(samples, seed)
        target = readable(target, max_unreadable, progress=progress)
        _check_target(target, chosen)
        if workers is None:
            workers = 0 if device == "cpu" else min(8, os.cpu_count() or 1)
        needs_source = any(SCORES[name].needs_source for name in chosen)
        options = Extraction(batch_size, device, workers, logits=needs_source)
        with progress_bar(progress) as bars:
            rows = _special_rows(target, seed)
            run = Pass(target, chosen, options, rows, bars, remarks, heard)
            models = _ranked(run_all(sources, run), chosen, seed)
    return Ranking(
        models=models,
        metric=chosen[0] if len(chosen) == 1 else CONSENSUS,
        data=target.name,
        task=target.task,
        samples=len(target),
        classes=len(target.targets.unique()) if target.task == "classification" else None,
        metrics=chosen if len(chosen) > 1 else (),
        location=str(data) if isinstance(data, str | Path) else "",
        notes=(*_notes(target), *remarks.lines([s.name for s in sources], _silences(models))),
    )


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


def _device(device: str | None) -> str:
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} is not there: torch sees no GPU")
    return device


def _check_target(target: TargetData, metrics: Sequence[Metric]) -> None:
    """Refuses what would make every model fail, before any of them runs."""
    check_metrics(metrics, target.task)
    if not len(target):
        raise ValueError(f"data must hold samples, got none in {target.name!r}")
    if target.task == "classification" and len(target.targets.unique()) < 2:
        only = target.targets.unique().tolist()
        raise ValueError(f"targets must have at least 2 classes, got {only}")


def _special_rows(target: TargetData, seed: int) -> Rows:
    """Samples whose features are kept, classes in proportion, and those of the intervals."""
    kept = replace(target, positions=None).sample(KEPT_SAMPLES, seed).rows()
    generator = torch.Generator("cpu").manual_seed(seed)
    few = torch.randperm(len(kept), generator=generator, device="cpu")[:INTERVAL_SAMPLES]
    return Rows(kept, kept[few].sort().values)
