"""rank(): runs every model of a hub over the target data once and scores it."""

import math
import os
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor

from hubfast.data import TargetData, as_target_data
from hubfast.hub import Extraction, Source, as_hub
from hubfast.hub.model import first_line
from hubfast.progress import progress_bar
from hubfast.ranking.table import RankedModel, Ranking, Seconds
from hubfast.scores.bootstrap import bootstrap
from hubfast.scores.inputs import Task
from hubfast.scores.metric import NEED_LOGITS, Metric, StreamedScore, check_metric

INTERVAL_SAMPLES = 512  # whose influence is computed: their spread is then known within 3 %
INTERRUPTED = "not run: interrupted"


def rank(
    hub: Any,
    data: Any,
    *,
    metric: Metric = "logme",
    task: Task | None = None,
    samples: int | None = None,
    batch_size: int = 64,
    device: str | None = None,
    workers: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Ranking:
    """Ranks the models of a hub for a target task, without fine-tuning any.

    Each model runs once over the data, in its own preprocessing. One that fails becomes a row
    with its error. On Ctrl-C the models scored so far are ranked and returned.

    Args:
        hub: Models; see `hubfast.hub.as_hub`: `["timm:resnet50.a1_in1k", my_module, "f.npy"]`.
        data: Samples and targets; see `hubfast.data.as_target_data`: a folder, a Dataset, arrays.
            Take training data: a ranking on test data selects on test data.
        metric: `"logme"` (any task), or for classes `"h_score"`, `"regularized_h_score"`,
            `"leep"`, `"nce"`; the last two need the source classifier's output.
        task: As in `as_target_data`.
        samples: At most so many samples are used, drawn with classes in proportion; None for all.
        batch_size: Samples per forward pass.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`; None for a GPU where there is one.
        workers: Processes that prepare samples; None for a few when a GPU runs the models.
        seed: Of the subsample and of the intervals.
        progress: Show bars with the time left.

    Raises:
        ValueError, TypeError: Bad arguments, before any model runs.
    """
    for name, value in (("batch_size", batch_size), ("samples", samples)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    device = _device(device)
    sources = as_hub(hub)
    target = as_target_data(data, task=task).sample(samples, seed)
    _check_target(target, metric)
    if workers is None:
        workers = 0 if device == "cpu" else min(8, os.cpu_count() or 1)
    how = Extraction(batch_size, device, workers, logits=metric in NEED_LOGITS)
    sample = _interval_sample(len(target), seed)

    with progress_bar(progress) as bars:
        outcomes = _run_all(sources, target, metric, how, sample, bars)
    return _ranking(outcomes, metric, target, seed)


def _device(device: str | None) -> str:
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} is not there: torch sees no GPU")
    return device


def _check_target(target: TargetData, metric: Metric) -> None:
    """What would make every model fail, found before any of them runs."""
    check_metric(metric, target.task)
    if not len(target):
        raise ValueError(f"data must hold samples, got none in {target.name!r}")
    if target.task == "classification" and len(target.targets.unique()) < 2:
        only = target.targets.unique().tolist()
        raise ValueError(f"targets must have at least 2 classes, got {only}")


@dataclass(frozen=True)
class _Outcome:
    row: RankedModel
    influence: Tensor | None = None


def _run_all(
    sources: list[Source],
    target: TargetData,
    metric: Metric,
    how: Extraction,
    sample: Tensor,
    bars: Progress,
) -> list[_Outcome]:
    overall = bars.add_task("models", total=len(sources) * len(target))
    outcomes: list[_Outcome] = []
    for position, source in enumerate(sources):
        bars.update(overall, description=f"{position + 1}/{len(sources)} {source.name}")
        scorer = StreamedScore(metric, target.targets, target.task, sample)
        try:
            outcomes.append(_run(source, target, scorer, how, bars))
        except KeyboardInterrupt:
            outcomes += [_failure(s, INTERRUPTED) for s in sources[position:]]
            break
        except Exception as error:  # any fault of one model must not lose the others
            outcomes.append(_failure(source, first_line(error)))
        bars.update(overall, completed=(position + 1) * len(target))
    return outcomes


def _run(
    source: Source, target: TargetData, scorer: StreamedScore, how: Extraction, bars: Progress
) -> _Outcome:
    started = time.perf_counter()
    model = source.load()
    loaded = time.perf_counter()
    prepare = forward = score = 0.0
    width = None
    for batch in model.batches(target, how):
        begun = time.perf_counter()
        scorer.update(batch.index, batch.features, batch.logits)
        prepare, forward = prepare + batch.prepare_seconds, forward + batch.forward_seconds
        score += time.perf_counter() - begun
        width = batch.features.shape[1]
        bars.advance(bars.task_ids[0], len(batch.index))
    begun = time.perf_counter()
    value, influence = scorer.finish()
    score += time.perf_counter() - begun
    seconds = Seconds(loaded - started, prepare, forward, score)
    row = RankedModel(
        source.name, score=value, width=width, parameters=model.parameters, seconds=seconds
    )
    return _Outcome(row, influence)


def _failure(source: Source, why: str) -> _Outcome:
    return _Outcome(RankedModel(source.name, error=why))


def _interval_sample(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:INTERVAL_SAMPLES].sort().values


def _ranking(outcomes: list[_Outcome], metric: Metric, target: TargetData, seed: int) -> Ranking:
    scored = [o for o in outcomes if o.influence is not None]
    failed = [o.row for o in outcomes if o.influence is None]
    rows: list[RankedModel] = []
    if scored:
        scores = [float(o.row.score) for o in scored if o.row.score is not None]
        influences = [o.influence for o in scored if o.influence is not None]
        found = bootstrap(scores, influences, len(target), seed)
        for o, low, high, tied in zip(scored, *found, strict=True):
            interval = (None, None) if math.isnan(low) else (float(low), float(high))
            rows.append(replace(o.row, low=interval[0], high=interval[1], tied=bool(tied)))
    rows.sort(key=lambda row: -float(row.score or 0.0))
    classes = len(target.targets.unique()) if target.task == "classification" else None
    return Ranking(
        models=(*rows, *failed),
        metric=metric,
        data=target.name,
        task=target.task,
        samples=len(target),
        classes=classes,
    )
