"""What the arguments of `rank` mean, found out before any model runs."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from hubfast.data import TargetData
from hubfast.data.order import seeded_order
from hubfast.extraction.cache import Cache, default_folder
from hubfast.scores.registry import SCORES, Metric, check_metrics
from hubfast.scores.streamed import useful_samples
from hubfast.utils.sizes import machine_memory, parse_size

MOST_WORKERS = 8


def chosen_metrics(metric: Metric, metrics: Sequence[Metric] | None) -> tuple[Metric, ...]:
    """The metrics to rank by: several if there are, else the one."""
    return (metric,) if metrics is None else tuple(metrics)


def chosen_device(device: str | None) -> str:
    """The device, by default a GPU where there is one.

    Raises:
        ValueError: It is not there.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} is not there: torch sees no GPU")
    return device


def chosen_workers(workers: int | None, device: str) -> int:
    """Processes that prepare samples, by default a few where a GPU runs the models."""
    if workers is None:
        return 0 if device == "cpu" else min(MOST_WORKERS, os.cpu_count() or 1)
    return workers


def chosen_memory(memory: int | str | None) -> int:
    """Bytes for samples and loaded models, by default a quarter of the machine's memory.

    Raises:
        ValueError: It is no size.
    """
    return machine_memory() // 4 if memory is None else parse_size(memory, "memory")


def chosen_cache(cache: bool, cache_dir: str | Path | None) -> Cache | None:
    """The cache, unless it is not wanted.

    Raises:
        ValueError: Its folder is a file.
    """
    if not cache:
        return None
    return Cache(default_folder() if cache_dir is None else cache_dir)


def in_order(
    target: TargetData, metrics: Sequence[Metric], samples: int | None, seed: int
) -> TargetData:
    """The samples in the order in which they are looked at, as many as the scores are of."""
    counts = [len(target), *(count for count in (samples, useful_samples(metrics)) if count)]
    order = seeded_order(target.targets, target.task, seed)
    return target.subset(order[: min(counts)])


def needs_logits(metrics: Sequence[Metric], cache: Cache | None) -> bool:
    """Whether the source classifier's output is asked for: it costs little, so also to be kept."""
    return cache is not None or any(SCORES[name].needs_source for name in metrics)


def check_counts(**counts: int | None) -> None:
    """Refuses counts below 1.

    Raises:
        ValueError: One is; the message names it.
    """
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_target(target: TargetData, metrics: Sequence[Metric]) -> None:
    """Refuses what would make every model fail, before any of them runs.

    Raises:
        ValueError: There are no samples, no two classes, or the metrics do not fit.
    """
    check_metrics(metrics, target.task)
    if not len(target):
        raise ValueError(f"data must hold samples, got none in {target.name!r}")
    if target.task == "classification" and len(target.targets.unique()) < 2:
        only = target.targets.unique().tolist()
        raise ValueError(f"targets must have at least 2 classes, got {only}")
