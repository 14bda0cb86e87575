"""The truth that a ranking estimates: every model really fine-tuned on every target."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.minihub.files import cache_dir, shipped_dir
from hubfast.minihub.models import build, digest_of, load, model_names
from hubfast.minihub.tasks import TARGETS, Target, load_target, target_names
from hubfast.minihub.training import PretrainingRecipe, prepare, quality, train
from hubfast.utils.documents import json_lines
from hubfast.utils.progress import progress_bar
from hubfast.utils.records import as_record

TABLE = "truth.jsonl"
RECIPE_VERSION = 1
RATES = (3e-4, 1e-3, 3e-3)
EPOCHS = 25
BATCH = 32
VALIDATION = 0.25


@dataclass(frozen=True)
class Truth:
    """What fine-tuning gave on the test set."""

    model: str
    target: str
    seed: int
    metric: str  # "accuracy" or "R2"
    value: float
    rate: float  # learning rate chosen on a validation part of the training data
    seconds: float
    shipped: bool = field(default=False, compare=False)  # else it was found on this machine


def truth(
    targets: Sequence[str] | None = None,
    *,
    full: bool = False,
    seeds: int = 1,
    rebuild: bool = False,
    on_missing: Callable[[], object] = lambda: None,
    progress: bool = True,
) -> list[Truth]:
    """Fine-tunes every model on every target, all parameters, for each seed.

    The learning rate is chosen from RATES on a quarter of the training data, then the model is
    trained on all of it. Each run is appended to a file in the cache when it is done and never
    repeated; those of the demo's models with seed 0 come with hubfast.

    Args:
        targets: Names of targets; None for the demo's target, or all with `full`.
        full: Whether all models are fine-tuned, not the demo's alone.
        seeds: Runs with seeds 0, 1, ...
        rebuild: Do every run again, also those that are known.
        on_missing: Called before the first run, where one must be done.
        progress: Show a bar with the time left.
    """
    if targets is None:
        targets = [t.name for t in TARGETS if full or t.in_demo]
    for name in targets:
        if name not in target_names():
            raise ValueError(f"targets must be of {target_names()}, got {name!r}")
    names = model_names(full=full)
    build(names, progress=progress)
    wanted = [(m, t, s) for t in targets for m in names for s in range(seeds)]
    keys = {run: _key(*run) for run in wanted}  # each reads the head of a file of weights
    known = {**_read(shipped_dir(), shipped=True), **_read(cache_dir(), shipped=False)}
    todo = [run for run in wanted if rebuild or keys[run] not in known]
    if todo:
        on_missing()
    with progress_bar(progress and bool(todo)) as bars:
        task = bars.add_task("", total=len(todo))
        for run in todo:
            model, target, seed = run
            bars.update(task, description=f"fine-tuning {model} on {target}")
            found = _fine_tune(model, load_target(target), seed)
            known[keys[run]] = found
            _append(keys[run], found)
            bars.advance(task)
    return [known[keys[run]] for run in wanted]


def _fine_tune(name: str, target: Target, seed: int) -> Truth:
    from sklearn.model_selection import train_test_split  # slow to import

    started = time.perf_counter()
    values, test_values = _scaled(target)
    stratify = target.targets if target.kind == "classification" else None
    fit, held = train_test_split(
        np.arange(len(values)), test_size=VALIDATION, random_state=seed, stratify=stratify
    )
    inputs = prepare(load(name), target.images)
    scores = []
    for rate in RATES:
        model = _tuned(name, inputs[fit], values[fit], target, rate, seed)
        scores.append(quality(model, inputs[held], values[held], target.kind))
    rate = RATES[int(np.argmax(scores))]
    model = _tuned(name, inputs, values, target, rate, seed)
    value = quality(model, prepare(model, target.test_images), test_values, target.kind)
    metric = "accuracy" if target.kind == "classification" else "R2"
    return Truth(name, target.name, seed, metric, value, rate, time.perf_counter() - started)


def _scaled(target: Target) -> tuple[Tensor, Tensor]:
    """Targets to train and to test on; regression in units of the std of the training targets."""
    train_values, test_values = map(torch.from_numpy, (target.targets, target.test_targets))
    if target.kind == "classification":
        return train_values, test_values
    mean, std = train_values.mean(), train_values.std()
    return (
        ((train_values - mean) / std).float(),
        ((test_values - mean) / std).float(),
    )


def _tuned(
    name: str, inputs: Tensor, values: Tensor, target: Target, rate: float, seed: int
) -> torch.nn.Module:
    model: Any = load(name)
    torch.manual_seed(seed)  # of the new head
    model.reset_classifier(1 if target.class_names is None else len(target.class_names))
    train(model, inputs, values, target.kind, PretrainingRecipe(EPOCHS, rate, BATCH), seed)
    return model


def _key(model: str, target: str, seed: int) -> str:
    """Key of a run in the file; it changes when the model's weights or the recipe do."""
    recipe = [RECIPE_VERSION, RATES, EPOCHS, BATCH, VALIDATION]
    return json.dumps([digest_of(model), recipe, model, target, seed])


def _read(folder: Path, *, shipped: bool) -> dict[str, Truth]:
    """Runs that are known there, by their keys."""
    path, known = folder / TABLE, {}
    for what, row in json_lines(path, '{"key": ') if path.exists() else ():
        known[row["key"]] = as_record(Truth, {**row, "shipped": shipped}, what)
    return known


def _append(key: str, found: Truth) -> None:
    path = cache_dir() / TABLE
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:  # the first line break ends a line that a kill cut off
        row = {name: value for name, value in asdict(found).items() if name != "shipped"}
        file.write("\n" + json.dumps({"key": key, **row}, allow_nan=False) + "\n")
