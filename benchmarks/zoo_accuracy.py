"""Accuracy of Zoo-Tuning beside single models, ensemble, distillation and mean weights.

    python benchmarks/zoo_accuracy.py             # all runs that are missing, then the tables
    python benchmarks/zoo_accuracy.py --table     # the tables alone

Two hubs of small ResNets of one architecture: `independent`, the mini-hub's six, each trained from
scratch on another source, one of them on random labels; `related`, one model and what became of it
on four further sources, as published hubs come from ImageNet. Every method gets the same data,
epochs and optimiser; its learning rate is the best of four on a quarter of the training data, with
seed 0. Each run is appended to results/zoo_accuracy.csv when it is done, and never repeated.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from recording import machine
from scipy import stats
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from zoo_models import SOURCES, Ensemble, mean_of, models_of

from hubfast.minihub import load_target
from hubfast.minihub.training import PretrainingRecipe, prepare, quality, train
from hubfast.scores import logme
from hubfast.tuning import teacher_weights
from hubfast.utils.progress import progress_bar
from hubfast.zoo import ZooTuning

TARGETS = ("handwritten", "lowercase", "outlines")
SEEDS = (0, 1, 2)
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
EPOCHS, BATCH = 25, 32
ZOO: dict[str, dict] = {
    "Zoo-Tuning, as published": {},
    "Lite, as published": {"lite": True},
    "Zoo-Tuning, ranked start": {"ranked": True},
    "Lite, ranked start": {"ranked": True, "lite": True},
    "Zoo-Tuning of the best-ranked alone": {"ranked": True, "alone": True},
}
RESULTS = Path(__file__).parent / "results" / "zoo_accuracy.csv"
FIELDS = ("hub", "target", "seed", "method", "accuracy", "rate", "seconds", "torch", "cpu")


@dataclass
class Study:
    """A hub and a target, as the models take it."""

    hub: str
    target: str

    def __post_init__(self) -> None:
        self.models, target = models_of(self.hub), load_target(self.target)
        model = next(iter(self.models.values()))
        self.inputs, self.test_inputs = (
            prepare(model, images) for images in (target.images, target.test_images)
        )
        self.targets, self.test_targets = map(
            torch.from_numpy, (target.targets, target.test_targets)
        )
        self.classes = len(target.class_names or ())

    def scores(self, part: np.ndarray) -> list[float]:
        """LogME of the models on a part of the training data."""
        with torch.inference_mode():
            features = [
                m.forward_head(m.forward_features(self.inputs[part]), pre_logits=True)
                for m in self.models.values()
            ]
        return [logme(x, self.targets[part]) for x in features]

    def start(self, method: str, seed: int, part: np.ndarray) -> nn.Module:
        """The network of a method before it is tuned on a part of the training data."""
        torch.manual_seed(seed)  # of heads and gates
        if method.startswith("single "):
            model = deepcopy(self.models[method.removeprefix("single ")])
            model.reset_classifier(self.classes)
            return model
        models = list(self.models.values())
        if method == "mean weights":
            return mean_of([deepcopy(m) for m in models], self.classes)
        options = dict(ZOO[method])
        scores = self.scores(part) if options.pop("ranked", False) else None
        if options.pop("alone", False) and scores:
            models, scores = [models[int(np.argmax(scores))]], None
        if scores:
            options["prior"] = teacher_weights(scores, 1 / len(part)).tolist()
        # The inputs are normalised already.
        options |= {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        return ZooTuning.from_models(models, self.classes, **options)

    def tuned(self, method: str, seed: int, rate: float, part: np.ndarray) -> nn.Module:
        network, recipe = self.start(method, seed, part), PretrainingRecipe(EPOCHS, rate, BATCH)
        train(network, self.inputs[part], self.targets[part], "classification", recipe, seed)
        return network

    def accuracy(self, network: nn.Module) -> float:
        return quality(network, self.test_inputs, self.test_targets, "classification")

    def best_rate(self, method: str) -> float:
        """Of RATES, on a quarter of the training data held out, with seed 0."""
        for row in rows():
            if (row["hub"], row["target"], row["method"]) == (self.hub, self.target, method):
                return float(row["rate"])
        fit, held = train_test_split(
            np.arange(len(self.inputs)), test_size=0.25, random_state=0, stratify=self.targets
        )
        data = (self.inputs[held], self.targets[held], "classification")
        return max(RATES, key=lambda rate: quality(self.tuned(method, 0, rate, fit), *data))

    def run(self, method: str, seed: int) -> tuple[float, float]:
        """Accuracy on test data, and the rate."""
        everything = np.arange(len(self.inputs))
        if method not in ("ensemble", "distill"):
            rate = self.best_rate(method)
            return self.accuracy(self.tuned(method, seed, rate, everything)), rate
        ensemble = self.ensemble(seed)
        if method == "ensemble":
            return self.accuracy(ensemble), 0.0
        # The student starts as the best-ranked model.
        first = list(self.models)[int(np.argmax(self.scores(everything)))]
        student = self.start(f"single {first}", seed, everything)
        rate = self.best_rate(f"single {first}")
        self.distill(ensemble, student, rate, seed)
        return self.accuracy(student), rate

    @lru_cache(maxsize=1)  # noqa: B019
    def ensemble(self, seed: int) -> Ensemble:
        """The tuned single models."""
        everything, singles = np.arange(len(self.inputs)), [f"single {s}" for s in self.models]
        return Ensemble([self.tuned(m, seed, self.best_rate(m), everything) for m in singles])

    def distill(self, teacher: Ensemble, student: nn.Module, rate: float, seed: int) -> None:
        """`train` with the ensemble's probabilities and the labels in equal parts as targets."""
        with torch.inference_mode():
            soft = teacher.eval()(self.inputs).exp()
        wanted = ((soft + one_hot(self.targets, self.classes).float()) / 2).clone()
        torch.manual_seed(seed)
        batches = max(1, len(wanted) // BATCH)
        optimizer = torch.optim.AdamW(student.parameters(), weight_decay=0.05)
        steps = EPOCHS * batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        student.train()
        for _ in range(EPOCHS):
            for index in torch.randperm(len(wanted)).tensor_split(batches):
                loss = cross_entropy(student(self.inputs[index]), wanted[index])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()

    __hash__ = object.__hash__


def methods_of(hub: str) -> Iterator[str]:
    yield from (f"single {source}" for source in SOURCES[hub])
    yield from ("mean weights", *ZOO, "ensemble", "distill")


def rows() -> list[dict[str, str]]:
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


def run() -> None:
    known = {(r["hub"], r["target"], r["seed"], r["method"]) for r in rows()}
    jobs = [(h, t, s, m) for h in SOURCES for t in TARGETS for s in SEEDS for m in methods_of(h)]
    missing = [j for j in jobs if (j[0], j[1], str(j[2]), j[3]) not in known]
    where, study = machine(), None
    with progress_bar(bool(missing)) as bars:
        bar = bars.add_task("", total=len(missing))
        for hub, target, seed, method in missing:
            bars.update(bar, description=f"{method} on {target}, {hub}")
            if study is None or (study.hub, study.target) != (hub, target):
                study = Study(hub, target)
            began = time.perf_counter()
            accuracy, rate = study.run(method, seed)
            seconds = round(time.perf_counter() - began, 1)
            found = (hub, target, seed, method, f"{accuracy:.4f}", rate, seconds)
            new = not RESULTS.exists()
            with RESULTS.open("a", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerows([FIELDS] * new + [(*found, where["torch"], where["cpu"])])
            bars.advance(bar)


def table(hub: str) -> str:
    """Mean accuracy in percent over seeds, and the half-width of its 95 % interval."""
    lines = [f"| {hub} hub | " + " | ".join([*TARGETS, "mean"]) + " |"]
    lines.append("| --- |" + " ---: |" * (len(TARGETS) + 1))
    for method in methods_of(hub):
        cells, means = [], []
        for target in TARGETS:
            key = (hub, target, method)
            found = [
                100 * float(r["accuracy"])
                for r in rows()
                if (r["hub"], r["target"], r["method"]) == key
            ]
            if len(found) < 2:
                cells.append("")
                continue
            half = stats.t.ppf(0.975, len(found) - 1) * stats.sem(found)
            means.append(np.mean(found))
            cells.append(f"{np.mean(found):.1f} ± {half:.1f}")
        mean = f"{np.mean(means):.1f}" if len(means) == len(TARGETS) else ""
        lines.append(f"| {method} | " + " | ".join([*cells, mean]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="Run nothing.")
    torch.set_num_threads(1)
    if not parser.parse_args().table:
        run()
    for hub in SOURCES:
        print(table(hub), end="\n\n")
