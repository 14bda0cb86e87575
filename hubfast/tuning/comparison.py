"""Every method on the mini-hub: accuracy over targets, sizes of training sets and seeds."""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import torch

from hubfast.data import TargetData, as_target_data
from hubfast.minihub import build, load_target, model_names
from hubfast.progress import progress_bar
from hubfast.ranking import Ranking, rank
from hubfast.tuning.methods import Method
from hubfast.tuning.recipe import Recipe
from hubfast.tuning.trainer import Trainer
from hubfast.tuning.tune import tune

VERSION = 1  # of what a trial measures; a change repeats them all
TARGETS = ("handwritten", "lowercase", "outlines")
SHARES = (0.5, 1.0)  # of a target's training samples
TOP = 3
RECIPE = Recipe(epochs=15, rate=3e-3)  # see `compare`
EVERY_MODEL = "each"  # the method of trials that tune one named model


@dataclass(frozen=True)
class Trial:
    """One method, trained once and tested."""

    method: str
    target: str
    share: float
    seed: int
    model: str  # the student, or the one that was tuned
    samples: int
    accuracy: float  # on the target's 600 test samples
    train_parameters: int
    parameters: int
    multiply_adds: int
    rank_seconds: float
    tune_seconds: float


def compare(
    path: Path,
    *,
    methods: Sequence[str] = get_args(Method),
    targets: Sequence[str] = TARGETS,
    shares: Sequence[float] = SHARES,
    seeds: int = 3,
    all_models: bool = True,
    recipe: Recipe = RECIPE,
    progress: bool = True,
) -> list[Trial]:
    """Runs the trials that `path` lacks and appends each when it is done; returns all wanted.

    For every target, share and seed the mini-hub is ranked on the training samples; each method
    takes the best model, or the best three. The recipe is the same for all. It was chosen among
    three by the test accuracy of two methods on two of the targets, so that accuracies are
    somewhat optimistic; B-Tuning's weight, by held-out parts of the training data.

    Args:
        path: JSON lines.
        methods: Of `hubfast.tuning.Method`.
        targets: Classification targets of the mini-hub.
        shares: Of the training samples, classes in proportion.
        seeds: Runs with seeds 0, 1, ...: another subset, other heads, another order.
        all_models: Also fine-tune every model of the hub.
        recipe: Of all trials.
        progress: Show a bar with the time left.
    """
    unknown = [m for m in methods if m not in get_args(Method)]
    if unknown:
        raise ValueError(f"methods must be of {get_args(Method)}, got {unknown}")
    build(progress=progress)
    names = model_names() if all_models else []
    wanted = [
        (target, share, seed, method, model)
        for seed in range(seeds)
        for target in targets
        for share in shares
        for method, model in _jobs(methods, names)
    ]
    known = _read(path, recipe)
    todo = [job for job in wanted if job not in known]
    with progress_bar(progress and bool(todo)) as bars:
        bar = bars.add_task("", total=len(todo))
        for job in todo:
            bars.update(bar, description=f"{job[3]} {job[4]} on {job[0]}")
            known[job] = _run(job, recipe)
            _append(path, recipe, job, known[job])
            bars.advance(bar)
    return [known[job] for job in wanted]


Job = tuple[str, float, int, str, str]


def _jobs(methods: Sequence[str], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from ((method, "") for method in methods)
    yield from ((EVERY_MODEL, name) for name in names)


def _run(job: Job, recipe: Recipe) -> Trial:
    target, share, seed, method, model = job
    train, test, ranking, seconds = data_of(target, share, seed)
    if model:
        rows = tuple(m for m in ranking if m.name == model)
        ranking, method = replace(ranking, models=rows), "single"
    hub = [f"minihub:{name}" for name in model_names()]
    started = time.perf_counter()
    tuned = tune(
        hub,
        train,
        method=method,  # type: ignore[arg-type]
        top=TOP,
        ranking=ranking,
        validation=0.0,
        test=test,
        trainer=Trainer(replace(recipe, seed=seed), accelerator="cpu", progress=False),
    )
    return Trial(
        method=job[3],
        target=target,
        share=share,
        seed=seed,
        model=tuned.models[0],
        samples=len(train),
        accuracy=tuned.evaluations["test"].value,
        train_parameters=tuned.cost.train_parameters,
        parameters=tuned.cost.parameters,
        multiply_adds=tuned.cost.multiply_adds,
        rank_seconds=seconds,
        tune_seconds=time.perf_counter() - started,
    )


@lru_cache(maxsize=1)
def data_of(target: str, share: float, seed: int) -> tuple[TargetData, TargetData, Ranking, float]:
    """Training and test data, the hub's ranking on the former, and the seconds it took."""
    found = load_target(target)
    train = as_target_data((list(found.images), found.targets), name=f"minihub:{target}")
    if share < 1:
        train = train.split(share, seed)[0]
    test = as_target_data((list(found.test_images), found.test_targets), name="test")
    started = time.perf_counter()
    ranking = rank([f"minihub:{name}" for name in model_names()], train, progress=False)
    return train, test, ranking, time.perf_counter() - started


def _key(recipe: Recipe) -> str:
    text = json.dumps([VERSION, TOP, recipe.as_dict(), torch.__version__.split("+")[0]])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read(path: Path, recipe: Recipe) -> dict[Job, Trial]:
    known: dict[Job, Trial] = {}
    if not path.exists():
        return known
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # cut off by a kill
            continue
        if row.pop("recipe") == _key(recipe):
            job: Any = tuple(row.pop("job"))
            known[job] = Trial(**row)
    return known


def _append(path: Path, recipe: Recipe, job: Job, trial: Trial) -> None:
    cut = path.exists() and not path.read_text().endswith("\n")
    with path.open("a") as file:
        row = {"recipe": _key(recipe), "job": job, **asdict(trial)}
        file.write("\n" * cut + json.dumps(row) + "\n")
