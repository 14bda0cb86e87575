"""What every method costs to train and to use on the mini-hub: each in a process of its own."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from hubfast.bench.tuning.trials import RECIPE, TOP, data_of
from hubfast.minihub import build, model_names
from hubfast.minihub.images import SIZE
from hubfast.tuning.measure import MethodCost
from hubfast.tuning.methods.registry import Method, installed_methods
from hubfast.tuning.trainer import Trainer
from hubfast.tuning.tune import tune
from hubfast.utils.progress import progress_bar

EPOCHS = 6  # epochs of a measurement: 18 steps of about 32 samples


@dataclass(frozen=True)
class OnceAgainstAll:
    """Seconds to rank a hub and tune its best model, and to tune all of its models."""

    rank: float
    tune_best: float
    tune_all: float
    models: int

    @property
    def share(self) -> float:
        """Time of ranking and tuning once, as a share of tuning all models."""
        return (self.rank + self.tune_best) / self.tune_all


def measure_costs(
    methods: Sequence[str] | None = None, *, target: str = "handwritten", progress: bool = True
) -> dict[str, MethodCost]:
    """Parameters, multiply-adds, speeds and memory of each method, trained for a few steps.

    Each has a process, so that one's memory is not another's; it trains once before, to warm up.
    """
    methods = installed_methods() if methods is None else methods
    build(progress=progress)
    costs = {}
    context = multiprocessing.get_context("spawn")
    with progress_bar(progress) as bars:
        bar = bars.add_task("", total=len(methods))
        for method in methods:
            bars.update(bar, description=f"measuring {method}")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                costs[method] = pool.submit(_cost, method, target).result()  # type: ignore[arg-type]
            bars.advance(bar)
    return costs


def _cost(method: Method, target: str) -> MethodCost:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    data = data_of(target, 1.0, 0)
    trainer = Trainer(replace(RECIPE, epochs=1), accelerator="cpu", progress=False)
    hub = [f"minihub:{name}" for name in model_names()]
    options: Any = {"method": method, "top": TOP, "ranking": data.ranking, "validation": 0.0}
    options |= {"size": (SIZE, SIZE)}
    memory = tune(hub, data.train, trainer=trainer, **options).cost.peak_memory
    longer = replace(trainer, recipe=replace(RECIPE, epochs=EPOCHS))
    found = tune(hub, data.train, trainer=longer, **options).cost
    return replace(found, peak_memory=memory)


def once_against_all(target: str = "handwritten") -> OnceAgainstAll:
    """Measures both, one after the other, in this process, with the comparison's recipe."""
    build(progress=False)
    data_of(target, 1.0, 0)  # loads what is loaded once
    trainer = Trainer(RECIPE, accelerator="cpu", progress=False)
    hub = [f"minihub:{name}" for name in model_names()]
    options: Any = {"size": (SIZE, SIZE), "trainer": trainer}
    data_of.cache_clear()
    data, seconds = data_of(target, 1.0, 0), {}
    for row in data.ranking:
        alone = replace(data.ranking, models=(row,))
        started = time.perf_counter()
        tune(hub, data.train, method="single", ranking=alone, validation=0.0, **options)
        seconds[row.name] = time.perf_counter() - started
    best = data.ranking.top(1)[0]
    return OnceAgainstAll(data.seconds, seconds[best], sum(seconds.values()), len(seconds))
