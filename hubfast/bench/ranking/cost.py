"""Seconds and peak memory of each score, features given."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hubfast.profiling.memory import peak_memory
from hubfast.scores.registry import Metric
from hubfast.scores.streamed import StreamedScores
from hubfast.utils.moved import moved

__getattr__ = moved("hubfast.bench.ranking.cost", {"Cost": "hubfast.bench.ranking.cost.ScoreCost"})


@dataclass(frozen=True)
class ScoreCost:
    """What one score of one model takes."""

    metric: str
    seconds: float
    peak_mib: float | None  # above what was held before; None where the system does not tell


def score_costs(
    metrics: Sequence[Metric],
    samples: int = 2048,
    width: int = 1024,
    classes: int = 50,
    *,
    announce: Callable[[str], object] = lambda metric: None,
) -> list[ScoreCost]:
    """Scores simulated features, float32 in batches of 256, by each metric alone.

    The source classifier has 1000 classes.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    targets = torch.arange(samples, device="cpu") % classes

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")

    features = (0.3 * normal(classes, width)[targets] + normal(samples, width)).relu()
    logits = normal(samples, 1000)
    batches = list(zip(targets.split(256), features.split(256), logits.split(256), strict=True))
    costs = []
    for metric in metrics:
        announce(metric)

        seconds: list[float] = []

        def run(metric: Metric = metric, seconds: list[float] = seconds) -> None:
            started = time.perf_counter()
            scorer = StreamedScores([metric], "classification", samples, kept=samples)
            for batch in batches:
                scorer.update(*batch)
            scorer.score(metric, parameters=1, imagenet=1.0)
            seconds.append(time.perf_counter() - started)

        peak = peak_memory(run)
        costs.append(ScoreCost(metric, seconds[0], peak))
    return costs
