"""Accuracy of Zoo-Tuning beside single models, ensemble, distillation and mean weights.

python benchmarks/zoo_accuracy.py [--targets handwritten lowercase outlines weaves] [--seeds 3]

The six ResNets of the mini-hub have one architecture and different sources, one of them random
labels. Every method gets the same data, epochs and optimiser; its learning rate is the best of
three on a quarter of the training data, with seed 0. Runs are kept in results/zoo_accuracy.csv and
not repeated; at the end a table of means with 95 % intervals over seeds (Student's t).
"""

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from recording import machine
from scipy import stats
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from hubfast.minihub import build, load, load_target
from hubfast.minihub.training import Recipe, prepare, quality, train
from hubfast.progress import progress_bar
from hubfast.zoo import ZooTuning

SOURCES = ("letters", "digits", "shapes", "textures", "fonts", "noise")
NAMES = tuple(f"resnet_{source}" for source in SOURCES)
RATES = (3e-4, 1e-3, 3e-3)
EPOCHS, BATCH = 25, 32
RESULTS = Path(__file__).parent / "results" / "zoo_accuracy.csv"
FIELDS = ("method", "target", "seed", "accuracy", "rate", "seconds", "torch", "cpu")
COMBINED = ("ensemble", "distill")  # made of the tuned single models


@dataclass(frozen=True)
class Data:
    """A target as the models take it."""

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    classes: int


class Ensemble(nn.Module):
    """Mean of the models' probabilities, as logits."""

    def __init__(self, models: list[nn.Module]):
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([m(x).softmax(1) for m in self.models]).mean(0).log()


def data_of(name: str) -> Data:
    target = load_target(name)
    model = load(NAMES[0])
    inputs, test_inputs = (prepare(model, i) for i in (target.images, target.test_images))
    values = map(torch.from_numpy, (target.targets, target.test_targets))
    return Data(inputs, next(values), test_inputs, next(values), len(target.class_names))


def start(method: str, classes: int, seed: int) -> nn.Module:
    """The network of a method before it is tuned."""
    torch.manual_seed(seed)  # of heads and gates
    if method.startswith("single "):
        model = load(f"resnet_{method.removeprefix('single ')}")
        model.reset_classifier(classes)
        return model
    models = [load(name) for name in NAMES]
    if method == "mean weights":
        return mean_of(models, classes)
    # The inputs are normalised already.
    options = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    return ZooTuning.from_models(models, classes, lite=method == "Lite Zoo-Tuning", **options)


def mean_of(models: list[nn.Module], classes: int) -> nn.Module:
    """One model whose weights are the models' mean; BatchNorm starts anew, as in Zoo-Tuning."""
    for model in models:
        model.reset_classifier(classes)
    mean = models[0]
    state = {
        n: torch.stack([m.state_dict()[n] for m in models]).float().mean(0)
        for n in mean.state_dict()
    }
    mean.load_state_dict(state)
    for module in mean.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return mean


def tune(network: nn.Module, data: Data, part: np.ndarray, rate: float, seed: int) -> nn.Module:
    recipe = Recipe(EPOCHS, rate, BATCH)
    train(network, data.inputs[part], data.targets[part], "classification", recipe, seed)
    return network


def distill(teacher: Ensemble, student: nn.Module, data: Data, rate: float, seed: int) -> None:
    """`train` with the ensemble's probabilities and the labels in equal parts as targets."""
    with torch.inference_mode():
        soft = teacher.eval()(data.inputs).exp()
    hard = nn.functional.one_hot(data.targets, data.classes).float()
    wanted = ((soft + hard) / 2).clone()
    torch.manual_seed(seed)
    batches = max(1, len(wanted) // BATCH)
    optimizer = torch.optim.AdamW(student.parameters(), weight_decay=0.05)
    steps = EPOCHS * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    student.train()
    for _ in range(EPOCHS):
        for index in torch.randperm(len(wanted)).tensor_split(batches):
            loss = nn.functional.cross_entropy(student(data.inputs[index]), wanted[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()


def best_rate(method: str, data: Data) -> float:
    """Of RATES, on a quarter of the training data held out, with seed 0."""
    fit, held = train_test_split(
        np.arange(len(data.inputs)), test_size=0.25, random_state=0, stratify=data.targets
    )
    scores = []
    for rate in RATES:
        network = tune(start(method, data.classes, 0), data, fit, rate, 0)
        held_out = (data.inputs[held], data.targets[held])
        scores.append(quality(network, *held_out, "classification"))
    return RATES[int(np.argmax(scores))]


def known() -> dict[tuple[str, str, int], dict]:
    if not RESULTS.exists():
        return {}
    with RESULTS.open() as file:
        rows = list(csv.DictReader(file))
    return {(r["method"], r["target"], int(r["seed"])): r for r in rows}


def keep(method: str, target: str, seed: int, accuracy: float, rate: float, began: float) -> None:
    where = machine()
    row = [method, target, seed, f"{accuracy:.5f}", rate, round(time.perf_counter() - began, 1)]
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(FIELDS)
        writer.writerow([*row, where["torch"], where["cpu"]])


def study(target: str, seeds: int, advance: Callable[[], object]) -> None:
    """All methods on one target; single models once more where ensemble or student need them."""
    data = data_of(target)
    everything = np.arange(len(data.inputs))
    test = (data.test_inputs, data.test_targets)
    singles = [f"single {source}" for source in SOURCES]
    rates: dict[str, float] = {}
    for seed in range(seeds):
        done = known()
        if all((m, target, seed) in done for m in (*METHODS, *COMBINED)):
            advance()
            continue
        tuned = {}
        for method in METHODS:
            row = done.get((method, target, seed))
            if row and method not in singles:
                continue
            began = time.perf_counter()
            earlier = done.get((method, target, 0))
            if method not in rates:
                rates[method] = float(earlier["rate"]) if earlier else best_rate(method, data)
            network = start(method, data.classes, seed)
            tuned[method] = tune(network, data, everything, rates[method], seed)
            if not row:
                accuracy = quality(tuned[method], *test, "classification")
                keep(method, target, seed, accuracy, rates[method], began)
        combine(tuned, singles, target, seed, data, rates, done)
        advance()


def combine(
    tuned: dict[str, nn.Module],
    singles: list[str],
    target: str,
    seed: int,
    data: Data,
    rates: dict[str, float],
    done: dict,
) -> None:
    """The ensemble of the tuned single models, and a student of it."""
    test = (data.test_inputs, data.test_targets)
    ensemble = Ensemble([tuned[m] for m in singles])
    if ("ensemble", target, seed) not in done:
        began = time.perf_counter()
        keep("ensemble", target, seed, quality(ensemble, *test, "classification"), 0, began)
    if ("distill", target, seed) not in done:
        began = time.perf_counter()
        # The student starts as the model that fits the training data best, with that one's rate.
        fits = {m: quality(tuned[m], data.inputs, data.targets, "classification") for m in singles}
        first = max(fits, key=lambda m: fits[m])
        student = start(first, data.classes, seed)
        distill(ensemble, student, data, rates[first], seed)
        accuracy = quality(student, *test, "classification")
        keep("distill", target, seed, accuracy, rates[first], began)


METHODS = (
    *(f"single {source}" for source in SOURCES),
    "mean weights",
    "Zoo-Tuning",
    "Lite Zoo-Tuning",
)


def table(targets: list[str]) -> str:
    """Mean accuracy in percent, and the half-width of its 95 % interval."""
    rows = known().values()
    lines = ["| method | " + " | ".join([*targets, "mean"]) + " |"]
    lines.append("| --- |" + " ---: |" * (len(targets) + 1))
    for method in (*METHODS, *COMBINED):
        cells, means = [], []
        for target in targets:
            found = [
                100 * float(r["accuracy"])
                for r in rows
                if (r["method"], r["target"]) == (method, target)
            ]
            if len(found) < 2:
                cells.append("")
                continue
            half = stats.t.ppf(0.975, len(found) - 1) * stats.sem(found)
            means.append(np.mean(found))
            cells.append(f"{np.mean(found):.1f} ± {half:.1f}")
        mean = f"{np.mean(means):.1f}" if len(means) == len(targets) else ""
        lines.append(f"| {method} | " + " | ".join([*cells, mean]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", nargs="+", default=["handwritten", "lowercase", "outlines"])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    build(NAMES)
    with progress_bar(True) as bars:
        task = bars.add_task("tuning", total=len(options.targets) * options.seeds)
        for target in options.targets:
            study(target, options.seeds, lambda: bars.advance(task))
    print(table(options.targets))


if __name__ == "__main__":
    main()
