"""One model of a hub on one data set: its scores, linear heads on it, and fine-tuning of it."""

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.bench.ranking.head import head_quality
from hubfast.data import TargetData
from hubfast.extraction.outputs import device_kind
from hubfast.hub import Source
from hubfast.hub.model import Extraction
from hubfast.nn.inference import default_batch_size, put_channels_last
from hubfast.scores.registry import names_of
from hubfast.scores.streamed import StreamedScores
from hubfast.tuning.context import TuningContext
from hubfast.tuning.evaluation import evaluate
from hubfast.tuning.methods.registry import build
from hubfast.tuning.parts import Parts
from hubfast.tuning.prepared import prepared
from hubfast.tuning.recipe import Recipe
from hubfast.tuning.trainer import Trainer
from hubfast.utils.devices import find_device


@dataclass(frozen=True)
class HubDesign:
    """How the models of a hub are scored and trained.

    Args:
        train: Samples of a draw that models are scored and trained on.
        test: Samples of a draw that they are tested on.
        draws: How many times the samples are drawn anew.
        recipe: How models are fine-tuned; the number of the draw is its seed.
    """

    train: int = 300
    test: int = 300
    draws: int = 3
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=10, lr=1e-3))

    def __post_init__(self) -> None:
        for name in ("train", "test", "draws"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def looked_at(source: Source, pool: TargetData, design: HubDesign) -> dict[str, Any]:
    """Scores of a model and quality of heads on its features, for each draw of `pool`.

    The model runs once over all samples. A score that it does not have is None,
    and why is in `errors`.
    """
    began = time.perf_counter()
    features, logits, known = _outputs(source, pool)
    scores: dict[str, list[float | None]] = {}
    heads, errors = [], {}
    for draw in range(design.draws):
        rows, new = drawn(pool, design, draw)
        targets, truth = pool.targets[rows], pool.targets[new]
        some = None if logits is None else logits[rows]
        for name, value, error in _scores(features[rows], some, targets, pool, known):
            scores.setdefault(name, []).append(value)
            if error:
                errors[name] = error
        heads.append(head_quality(features[rows], targets, features[new], truth, pool.task, draw))
    what = {"data": pool.name, "model": source.name, "width": features.shape[1]}
    return {**what, "scores": scores, "errors": errors, "head": heads, **_run_facts(began)}


def fine_tuned(source: Source, pool: TargetData, design: HubDesign, draw: int) -> dict[str, Any]:
    """Quality of the whole model, tuned on a draw's training samples with its task loss alone."""
    began = time.perf_counter()
    rows, new = drawn(pool, design, draw)
    recipe = replace(design.recipe, seed=draw)
    quality = _tuned_quality(source, pool.subset(rows), pool.subset(new), recipe)
    what = {"data": pool.name, "model": source.name, "draw": draw}
    return {**what, "full": quality, **_run_facts(began)}


def _run_facts(began: float) -> dict[str, Any]:
    """What a row took, and what it was made with."""
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "torch": torch.__version__,
        "hardware": device_kind(find_device(None)),
    }


def drawn(pool: TargetData, design: HubDesign, draw: int) -> tuple[Tensor, Tensor]:
    """Positions in the pool of the training and of the test samples of a draw."""
    numbered = TargetData(pool.name, None, pool.targets, pool.task)
    first, second = numbered.split(design.train, seed=draw)
    return first.rows(), second.rows()


def _outputs(source: Source, pool: TargetData) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
    """Features of the pool, source logits if there are any, and what is known of the model."""
    model, device = source.load(), find_device(None)
    published = model.imagenet if source.imagenet is None else source.imagenet
    known = {"parameters": model.parameters, "imagenet": published}
    options = Extraction(default_batch_size(device), device, logits=True)
    batches = list(model.batches(pool, options))
    features = torch.cat([batch.features for batch in batches]).cpu()
    logits = [batch.logits.cpu() for batch in batches if batch.logits is not None]
    return features, torch.cat(logits) if len(logits) == len(batches) else None, known


def _scores(
    features: Tensor,
    logits: Tensor | None,
    targets: Tensor,
    pool: TargetData,
    known: dict[str, Any],
) -> Iterator[tuple[str, float | None, str]]:
    """Every metric of the task; None, and why, where a model does not have it."""
    metrics, count = names_of(task=pool.task, prompts=False), len(targets)
    scorer = StreamedScores(metrics, pool.task, count, kept=count, interval=1)
    scorer.update(targets, features, logits)
    for metric in metrics:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "h_score says nothing")  # it is measured here
                found = scorer.score(metric, **known).score
        except ValueError as error:  # such as of LEEP for a model without a source classifier
            yield metric, None, str(error)
        else:
            finite = bool(np.isfinite(found))
            yield metric, found if finite else None, "" if finite else f"it is {found}"


def _tuned_quality(source: Source, train: TargetData, test: TargetData, recipe: Recipe) -> float:
    """Quality on `test` of the whole model, tuned with its task loss alone."""
    parts = Parts.of(train, 0, test, progress=False)
    samples, held_out, _ = prepared(parts, [source], augment="none", size=None, seed=recipe.seed)
    labels, recipe = parts.labels, recipe.settled(samples.lr)
    steps = recipe.epochs * max(1, len(samples) // recipe.batch_size)
    trainer = Trainer(recipe, progress=False)
    where: Any = {"device": str(trainer.device), "batch_size": recipe.batch_size}
    context = TuningContext([source], samples, labels, steps, recipe.smoothing, **where)
    method = build("single", context, lambda module: None, seed=recipe.seed)
    put_channels_last(method)  # on a CPU steps take two thirds of the time
    trainer.fit(method, samples, labels)
    return evaluate(method, held_out["test"], labels, **where).value
