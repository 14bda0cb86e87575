"""What the arguments of `rank` mean, found out before any model runs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from hubfast.data import TargetData
from hubfast.data.checks import check_share
from hubfast.data.clusters import whole_clusters
from hubfast.data.order import seeded_order
from hubfast.extraction.cache import Cache, default_folder
from hubfast.extraction.cluster.ray_cluster import Cluster
from hubfast.extraction.measured import usual_batch_size
from hubfast.extraction.point_outputs import of_features
from hubfast.hub import Extraction
from hubfast.hub.model import Precision
from hubfast.hub.points import AskedPoints
from hubfast.nn.inference import default_batch_size
from hubfast.ranking.looks import check_race
from hubfast.ranking.verdict import Rules
from hubfast.scores.registry import SCORES, Metric, check_metrics
from hubfast.scores.streamed import useful_samples
from hubfast.utils.arguments import as_whole
from hubfast.utils.devices import find_device
from hubfast.utils.durations import parse_duration
from hubfast.utils.names import brief
from hubfast.utils.sizes import machine_memory, parse_size

MOST_WORKERS = 8


@dataclass(frozen=True)
class Plan:
    """How a hub is ranked; `rank` says what each part means."""

    metrics: tuple[Metric, ...]
    samples: int | None
    extraction: Extraction
    seed: int
    max_unreadable: float
    memory: int  # bytes
    cache: Cache | None
    rules: Rules | None  # of a race; None for none
    budget: float | None  # seconds
    cluster: Cluster | None  # that runs the models; None for this process
    node_memory: int | None  # bytes on each of its machines; None for a quarter of that machine

    @classmethod
    def of(
        cls,
        *,
        metrics: Sequence[Metric],
        samples: int | None,
        batch_size: int | None,
        precision: Precision,
        device: str | None,
        workers: int | None,
        memory: int | str | None,
        cache: bool,
        cache_dir: str | Path | None,
        budget: float | str | None,
        layers: Any = "last",
        pooling: Any = "auto",
        cluster: Cluster | None = None,
        **given: Any,
    ) -> "Plan":
        """Makes the plan of what is given.

        Raises:
            ValueError, TypeError: An argument is wrong; the message names it.
        """
        given["seed"] = as_whole(given["seed"], "seed", 0)
        batch_size = None if batch_size is None else as_whole(batch_size, "batch_size", 1)
        samples = None if samples is None else as_whole(samples, "samples", 1)
        workers = None if workers is None else as_whole(workers, "workers", 0)
        if precision not in get_args(Precision):
            raise ValueError(f"precision must be one of {get_args(Precision)}, got {precision!r}")
        check_share(given["max_unreadable"])
        if isinstance(metrics, str) or not isinstance(metrics, Sequence):
            raise TypeError(f"metrics must be a list of names, got {brief(metrics)}")
        if odd := [name for name in metrics if not isinstance(name, str)]:
            raise TypeError(f"metric must be the name of a score, got {brief(odd[0])}")
        where = find_device(device) if cluster is None else cluster.device
        here = where == "cpu" or torch.cuda.is_available()  # else only workers have a GPU
        store = _cache(cache, cache_dir)
        size = None if memory is None else parse_size(memory, "memory")
        # The source classifier's output costs little, so it is also asked for to be kept.
        logits = store is not None or any(_needs_source(name) for name in metrics)
        return cls(
            metrics=tuple(metrics),
            samples=samples,
            extraction=Extraction(
                batch_size or (usual_batch_size if here else default_batch_size)(where),
                where,
                _workers(workers, where),
                precision,
                logits,
                AskedPoints.of(layers, pooling),
            ),
            memory=machine_memory() // 4 if size is None else size,
            node_memory=size,
            cache=store,
            cluster=cluster,
            budget=None if budget is None else parse_duration(budget, "budget"),
            **given,
        )

    @property
    def here(self) -> Extraction:
        """How this process computes: on a GPU only where it has one itself."""
        alone = self.extraction.device != "cpu" and not torch.cuda.is_available()
        return replace(self.extraction, device="cpu") if alone else self.extraction

    def in_order(self, target: TargetData) -> TargetData:
        """The samples in the order in which they are looked at, as many as the scores are of."""
        most = (self.samples, useful_samples(self.metrics))
        order = seeded_order(target.targets, target.task, self.seed, target.clusters)
        count = min(n for n in (len(target), *most) if n is not None)
        if target.clusters is not None:
            count = whole_clusters(target.clusters[order], count)
        return target.subset(order[:count])


def check_target(target: TargetData, plan: Plan) -> None:
    """Refuses what would make every model fail, before any of them runs.

    Raises:
        ValueError: There are no samples, no two classes, or the metrics do not fit.
    """
    check_metrics(plan.metrics, target.task)
    if not plan.extraction.points.default:
        _check_points(plan.metrics, target)
    if plan.rules is not None:
        check_race(plan.metrics)
    if not len(target):
        raise ValueError(f"data must hold samples, got none in {target.name!r}")
    if target.task == "classification" and len(target.targets.unique()) < 2:
        only = target.targets.unique().tolist()
        raise ValueError(f"targets must have at least 2 classes, got {only}")


def _check_points(metrics: Sequence[Metric], target: TargetData) -> None:
    if not of_features(metrics):
        raise ValueError(f"layers and pooling are for scores of features, got {list(metrics)}")
    if target.clusters is not None:
        raise ValueError("layers and pooling are for whole texts, and the samples are words")


def _workers(workers: int | None, device: str) -> int:
    """By default a few where a GPU runs the models."""
    if workers is None:
        return 0 if device == "cpu" else min(MOST_WORKERS, os.cpu_count() or 1)
    return workers


def _cache(wanted: bool, folder: str | Path | None) -> Cache | None:
    if not wanted:
        return None
    return Cache(default_folder() if folder is None else folder)


def _needs_source(metric: Metric) -> bool:
    return metric in SCORES and SCORES[metric].needs_source  # unknown ones are refused later
