"""Several models with real weights at once: what each way to use them gives, and what it costs.

    python benchmarks/real_hub.py --data DIR                 # makes the hub and the targets
    python benchmarks/real_several.py --data DIR             # all runs that are missing, the table
    python benchmarks/real_several.py --data DIR --table     # the table alone

Samples are drawn as `hubfast bench ranking --hub` draws them, and all train by one recipe. The
three published models: the one that LogME prefers is tuned alone, by B-Tuning from all three, and
by distillation of their ensemble; the ensemble is of all three, each tuned on its own. Hub-Pathway
has two random ones besides. Zoo-Tuning, Lite and the greedy soup are of Lite0 and three models
that come from it. The soup (Wortsman et al., "Model soups", ICML 2022) begins with the tuned model
that is best on a fifth of the training samples, which none of them sees, and takes up the others,
best first, where that does not make it worse. Each run is a row of results/real_several.jsonl,
written when it is done; seconds are of the processor.
"""

import argparse
import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recording import machine
from scipy import stats
from torch import nn

from hubfast.bench.kept import KeptRows
from hubfast.bench.ranking import HubDesign
from hubfast.bench.ranking.hub_rows import drawn
from hubfast.data import TargetData, as_target_data
from hubfast.hub import Source, as_hub
from hubfast.nn.inference import put_channels_last
from hubfast.profiling import counts
from hubfast.profiling.speed import inference_cost
from hubfast.tuning import ImageDataset, Recipe, TargetEncoder, Trainer, TuningContext, evaluate
from hubfast.tuning.finish import finished
from hubfast.tuning.framing import choose_framing
from hubfast.tuning.methods.registry import build
from hubfast.utils.progress import progress_bar

TARGETS = ("fashion-mnist.npz", "digits.npz", "clip-art")
THREE = ("lite0", "lite1", "lite2")
RANDOM = ("random mobilenetv3_small_100", "random regnetx_002")
FAMILY = ("lite0", "lite0-last-1", "lite0-on-clip-art", "lite0-on-letters")
DESIGN = HubDesign(train=200, test=300, draws=3, recipe=Recipe(epochs=6, lr=1e-3))
FEWEST = 3  # runs for an interval
HELD_OUT = 0.2  # of the training samples, to choose what goes into a soup
METHODS = (
    *("single", "b-tuning", "ensemble", "distill", "hub-pathway"),
    *("zoo", "zoo-lite", "soup"),
)
RESULTS = Path(__file__).parent / "results" / "real_several.jsonl"


class Draw:
    """One draw of a target, and the models on it."""

    def __init__(self, hub: dict[str, Source], pool: TargetData, draw: int):
        rows, new = drawn(pool, DESIGN, draw)
        self.hub, self.seed, self.name = hub, draw, pool.name
        self.train, self.test = pool.subset(rows), pool.subset(new)
        self.labels = TargetEncoder.of(self.train)
        self.framing = choose_framing(self.train, [hub["lite0"]], None)
        self.recipe = replace(DESIGN.recipe, seed=draw)
        self.trainer = Trainer(self.recipe, accelerator="cpu", progress=False)
        self.singles: dict[str, tuple[nn.Module, float]] = {}

    def images(self, data: TargetData) -> ImageDataset:
        return ImageDataset(data, self.labels, self.framing, seed=self.seed)

    def context(self, names: Sequence[str], data: TargetData | None = None) -> TuningContext:
        images = self.images(self.train if data is None else data)
        steps = self.recipe.epochs * max(1, len(images) // self.recipe.batch_size)
        sources = [self.hub[name] for name in names]
        return TuningContext(sources, images, self.labels, steps, self.recipe.smoothing)

    @cached_property
    def ranked(self) -> list[str]:
        """The three published models, best first by LogME."""
        context = self.context(THREE)
        scores = [context.features_and_logme(k)[1].score for k in range(len(THREE))]
        return [THREE[k] for k in np.argsort(scores)[::-1]]

    def accuracy(self, module: nn.Module, data: TargetData | None = None) -> float:
        images = self.images(self.test if data is None else data)
        return evaluate(module, images, self.labels).value

    def tuned(self, method: Any, names: Sequence[str], data: TargetData | None = None) -> nn.Module:
        context = self.context(names, data)
        built = build(method, context, self.put_in, seed=self.seed)
        if not method.startswith("zoo"):
            put_channels_last(built)
        self.trainer.fit(built, context.images, self.labels)
        return finished(built, context.images, self.recipe.batch_size)

    def single(self, name: str) -> nn.Module:
        """The published model tuned alone; once."""
        if name not in self.singles:
            began = time.process_time()
            module = self.tuned("single", [name])
            self.singles[name] = module, time.process_time() - began
        return self.singles[name][0]

    def put_in(self, ensemble: Any) -> None:
        """Gives the members of an ensemble the weights that they have when tuned alone."""
        for member, name in zip(ensemble.members, self.ranked, strict=True):
            alone: Any = self.single(name)
            member.load_state_dict(alone.model.state_dict())

    def ensemble(self) -> nn.Module:
        module = build("ensemble", self.context(self.ranked), lambda _: None, seed=self.seed)
        self.put_in(module)
        return module

    def soup(self) -> tuple[nn.Module, int]:
        """The mean of the weights of those tuned models that go together, and how many these are.

        Running statistics of BatchNorm are means, too.
        """
        part, held = self.train.split(1 - HELD_OUT, seed=self.seed)
        made = [self.tuned("single", [name], part) for name in FAMILY]
        made.sort(key=lambda module: self.accuracy(module, held), reverse=True)
        soup, taken = made[0], 1
        best = self.accuracy(soup, held)
        for module in made[1:]:
            tried = mean_of(soup, module, taken)
            if (found := self.accuracy(tried, held)) >= best:
                soup, taken, best = tried, taken + 1, found
        return soup, taken


def mean_of(soup: nn.Module, module: nn.Module, taken: int) -> nn.Module:
    """The mean of the `taken` models of a soup and one more."""
    mixed, other = copy.deepcopy(soup), module.state_dict()
    state = {
        name: (x * taken + other[name]) / (taken + 1) if x.is_floating_point() else x
        for name, x in soup.state_dict().items()
    }
    mixed.load_state_dict(state)
    return mixed


def run(draw: Draw, method: str) -> dict[str, Any]:
    """One row: accuracy, parameters, multiply-adds of an image, seconds, the models."""
    began, spent = time.process_time(), sum(s for _, s in draw.singles.values())
    models: Sequence[str] = draw.ranked
    match method:
        case "single":
            models = models[:1]
            module = draw.single(models[0])
        case "ensemble":
            module = draw.ensemble()
        case "b-tuning" | "distill":
            module = draw.tuned(method, models)
        case "hub-pathway":
            models = (*models, *RANDOM)
            module = draw.tuned(method, models)
        case "zoo" | "zoo-lite":
            models = FAMILY
            module = draw.tuned(method, models)
        case _:
            models = FAMILY
            module, taken = draw.soup()
            models = (*models, f"{taken} of them taken")
    seconds = time.process_time() - began
    if method in ("ensemble", "distill"):  # what their members took, wherever they were tuned
        seconds += spent
    return {
        "target": draw.name,
        "draw": draw.seed,
        "method": method,
        "models": list(models),
        "accuracy": draw.accuracy(module),
        "parameters": counts.parameters(module),
        "multiply_adds": inference_cost(module, draw.images(draw.test).batch([0])),
        "seconds": round(seconds, 1),
    }


def all_rows(folder: Path, draws: int, *, missing: bool) -> list[dict[str, Any]]:
    kept, wanted = KeptRows(RESULTS), DESIGN.train + DESIGN.test
    jobs = [(d, t, m) for d in range(draws) for t in TARGETS for m in METHODS]
    todo = [job for job in jobs if _key(*job) not in kept] if missing else []
    hub = {source.name: source for source in as_hub(folder / "hub-64.yaml")}
    where, draw = machine(), None
    with progress_bar(bool(todo)) as bars:
        bar = bars.add_task("", total=len(todo))
        for number, target, method in todo:
            bars.update(bar, description=f"{method} on {target}")
            if draw is None or (draw.seed, draw.target) != (number, target):
                pool = as_target_data(folder / target).sample(wanted)
                draw = Draw(hub, pool, number)
                draw.target = target
            kept.add(_key(number, target, method), {**run(draw, method), **where})
            bars.advance(bar)
    return [kept[_key(*job)] for job in jobs if _key(*job) in kept]


def _key(draw: int, target: str, method: str) -> str:
    return f"{target} {draw} {method} {DESIGN.train} {DESIGN.recipe.epochs}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means by target of what is complete, and the paired difference from `single`."""
    whole = [at for at in _runs(rows, "single") if all(at in _runs(rows, m) for m in METHODS)]
    targets = list(dict.fromkeys(target for target, _ in whole))
    titles = [*targets, "mean", "minus single", "parameters", "multiply-adds", "seconds"]
    lines = ["| method | " + " | ".join(titles) + " |", "| --- |" + " ---: |" * len(titles)]
    base = _runs(rows, "single")
    for method in METHODS:
        own = _runs(rows, method)
        by_target = [np.mean([own[at]["accuracy"] for at in whole if at[0] == t]) for t in targets]
        gains = [own[at]["accuracy"] - base[at]["accuracy"] for at in whole]
        costs = [np.mean([own[at][key] for at in whole]) for key in ("parameters", "multiply_adds")]
        seconds = np.mean([own[at]["seconds"] for at in whole])
        cells = [f"{value:.3f}" for value in (*by_target, np.mean(by_target))]
        cells += ["" if method == "single" else _interval(gains)]
        cells += [f"{costs[0] / 1e6:.2f} M", f"{costs[1] / 1e6:.0f} M", f"{seconds:.0f}"]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return f"{len(whole)} runs of each\n\n" + "\n".join(lines)


def _interval(gains: Sequence[float]) -> str:
    """The mean, and half of its 95 % interval where there are runs enough for one."""
    if len(gains) < FEWEST:
        return f"{np.mean(gains):+.3f}"
    half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
    return f"{np.mean(gains):+.3f} ± {half:.3f}"


def _runs(rows: Sequence[dict[str, Any]], method: str) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["target"], row["draw"]): row for row in rows if row["method"] == method}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of real_hub.py")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--draws", type=int, default=DESIGN.draws, help="only the first so many")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(table(all_rows(options.data, options.draws, missing=not options.table)))
