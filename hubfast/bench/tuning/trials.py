"""Every method on the mini-hub: accuracy over targets, sizes of training sets and seeds."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, get_args

import torch

from hubfast.data import TargetData, as_target_data
from hubfast.minihub import TARGETS as TASKS
from hubfast.minihub import build, load_target, model_names
from hubfast.minihub.images import SIZE
from hubfast.ranking import Ranking, rank
from hubfast.tuning.methods.registry import Method, installed_methods
from hubfast.tuning.recipe import Recipe
from hubfast.tuning.result import Tuned
from hubfast.tuning.trainer import Trainer
from hubfast.tuning.tune import tune
from hubfast.utils.documents import json_lines
from hubfast.utils.progress import progress_bar
from hubfast.utils.records import as_record

VERSION = 2  # of what a trial measures; a change repeats them all
TARGETS = ("handwritten", "lowercase", "outlines")
SHARES = (0.5, 1.0)  # shares of a target's training samples
TOP = 3
RECIPE = Recipe(epochs=15, lr=1e-3)
RATES = (1e-3, 3e-3, 1e-2)
HELD_OUT = 0.25  # of the training data, to choose a rate on
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
    rate: float  # highest learning rate
    accuracy: float  # on the target's 600 test samples
    train_parameters: int
    parameters: int
    multiply_adds: int
    rank_seconds: float
    tune_seconds: float


def compare(
    path: Path,
    *,
    methods: Sequence[str] | None = None,
    targets: Sequence[str] = TARGETS,
    shares: Sequence[float] = SHARES,
    seeds: int = 3,
    all_models: bool = True,
    recipe: Recipe = RECIPE,
    rates: Sequence[float] = RATES,
    progress: bool = True,
) -> list[Trial]:
    """Runs the trials that `path` lacks and appends each when it is done; returns all wanted.

    For every target, share and seed the mini-hub is ranked on the training samples; each method
    takes the best model, or the best three. All train by one recipe, each at the learning rate of
    `rates` that did best for it on a held-out quarter of the target's training data, with seed 0.

    Args:
        path: A file of JSON lines.
        methods: Methods, as `hubfast.tuning.Method` names them; None for all that are installed.
        targets: Classification targets of the mini-hub.
        shares: Of the training samples, classes in proportion.
        seeds: Runs with seeds 0, 1, ...: another subset, other heads, another order.
        all_models: Also fine-tune every model of the hub.
        recipe: Of all trials; its lr is not used.
        rates: To choose from.
        progress: Whether to show a bar with the time left.
    """
    methods = installed_methods() if methods is None else methods
    unknown = [m for m in methods if m not in get_args(Method)]
    if unknown:
        raise ValueError(f"methods must be of {get_args(Method)}, got {unknown}")
    known_targets = [spec.name for spec in TASKS if spec.kind == "classification"]
    if unknown := [name for name in targets if name not in known_targets]:
        raise ValueError(f"targets must be of {known_targets}, got {unknown}")
    build(progress=progress)
    names = model_names() if all_models else []
    wanted = [
        (target, share, seed, method, model)
        for seed in range(seeds)
        for target in targets
        for share in shares
        for method, model in _jobs(methods, names)
    ]
    key = _key(recipe, rates)
    known = _read(path, key)
    todo = [job for job in wanted if job not in known]
    with progress_bar(progress and bool(todo)) as bars:
        bar = bars.add_task("", total=len(todo))
        for job in todo:
            bars.update(bar, description=f"{job[3]} {job[4]} on {job[0]}")
            rate = _rate(job, recipe, rates, known.values())
            known[job] = _run(job, replace(recipe, lr=rate))
            _append(path, key, job, known[job])
            bars.advance(bar)
    return [known[job] for job in wanted]


Job = tuple[str, float, int, str, str]


def _jobs(methods: Sequence[str], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from ((method, "") for method in methods)
    yield from ((EVERY_MODEL, name) for name in names)


def _rate(job: Job, recipe: Recipe, rates: Sequence[float], known: Iterable[Trial]) -> float:
    """That of an earlier trial, or the one that does best on held-out data."""
    target, _, _, method, model = job
    for trial in known:
        if (trial.target, trial.method) == (target, method) and model in ("", trial.model):
            return trial.rate
    if len(rates) == 1:
        return rates[0]
    data = held_out_of(target)
    tuned = {rate: _tune(method, model, data, replace(recipe, lr=rate)) for rate in rates}
    return max(tuned, key=lambda rate: tuned[rate].evaluations["test"].value)


def _tune(method: str, model: str, data: "Data", recipe: Recipe) -> Tuned:
    ranking = data.ranking
    if model:
        rows = tuple(m for m in ranking if m.name == model)
        ranking, method = replace(ranking, models=rows), "single"
    return tune(
        [f"minihub:{name}" for name in model_names()],
        data.train,
        method=method,  # type: ignore[arg-type]
        top=TOP,
        ranking=ranking,
        validation=0.0,
        test=data.test,
        size=(SIZE, SIZE),
        trainer=Trainer(recipe, accelerator="cpu", progress=False),
    )


def _run(job: Job, recipe: Recipe) -> Trial:
    target, share, seed, method, model = job
    data = data_of(target, share, seed)
    started = time.perf_counter()
    tuned = _tune(method, model, data, replace(recipe, seed=seed))
    return Trial(
        method=job[3],
        target=target,
        share=share,
        seed=seed,
        model=tuned.models[0],
        samples=len(data.train),
        rate=recipe.lr or tuned.recipe.lr or 0.0,
        accuracy=tuned.evaluations["test"].value,
        train_parameters=tuned.cost.train_parameters,
        parameters=tuned.cost.parameters,
        multiply_adds=tuned.cost.multiply_adds,
        rank_seconds=data.seconds,
        tune_seconds=time.perf_counter() - started,
    )


class Data(NamedTuple):
    """To train on, to test on, and the hub's ranking on the former."""

    train: TargetData
    test: TargetData
    ranking: Ranking
    seconds: float  # that ranking took


@lru_cache(maxsize=1)
def data_of(target: str, share: float, seed: int) -> Data:
    """Takes a share of a target's training samples, and its test samples."""
    loaded = load_target(target)
    train = _training_data(target)
    if share < 1:
        train = train.split(share, seed)[0]
    return _ranked(
        train, as_target_data((list(loaded.test_images), loaded.test_targets), name="test")
    )


@lru_cache(maxsize=1)
def held_out_of(target: str) -> Data:
    """Splits the training samples in two parts."""
    return _ranked(*_training_data(target).split(1 - HELD_OUT, seed=0))


def _training_data(target: str) -> TargetData:
    loaded = load_target(target)
    return as_target_data((list(loaded.images), loaded.targets), name=f"minihub:{target}")


def _ranked(train: TargetData, test: TargetData) -> Data:
    started = time.perf_counter()
    ranking = rank([f"minihub:{name}" for name in model_names()], train, progress=False)
    return Data(train, test, ranking, time.perf_counter() - started)


def _key(recipe: Recipe, rates: Sequence[float]) -> str:
    values = replace(recipe, lr=1.0).as_dict()
    # Trials that were written when lr was called rate have this key, too.
    values = {"rate" if name == "lr" else name: value for name, value in values.items()}
    text = json.dumps([VERSION, TOP, [*rates, HELD_OUT, values], torch.__version__.split("+")[0]])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read(path: Path, key: str) -> dict[Job, Trial]:
    known: dict[Job, Trial] = {}
    if not path.exists():
        return known
    for what, row in json_lines(path, '{"recipe": '):
        written = as_record(_Written, row, what)
        if written.recipe == key:
            known[written.job] = as_record(Trial, row, what)
    return known


@dataclass(frozen=True)
class _Written:
    """What stands before a trial in its line."""

    recipe: str
    job: Job


def _append(path: Path, key: str, job: Job, trial: Trial) -> None:
    cut = path.exists() and not path.read_text().endswith("\n")
    with path.open("a") as file:
        row = {"recipe": key, "job": job, **asdict(trial)}
        file.write("\n" * cut + json.dumps(row, allow_nan=False) + "\n")
