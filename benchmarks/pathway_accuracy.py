"""Hub-Pathway on the mini-hub against single models, their ensemble and distillation.

    python benchmarks/pathway_accuracy.py             # all runs that are missing, then the table
    python benchmarks/pathway_accuracy.py 6           # at most six of them
    python benchmarks/pathway_accuracy.py 0           # the table alone

Five models of five architectures, one at 40 pixels and one with a normalisation of its own. Every
method trains all parameters by one recipe: AdamW at 1e-3, one cycle, 25 epochs, batches of 32.
"pathway" and its variants explore by the entropy of the batch's mean, unless they say otherwise.
With a "ranked start" models are chosen at first by the posterior probabilities of their LogME. Each
run is appended to results/pathway_accuracy.csv when it is done, and never repeated.
"""

import csv
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from hubfast.minihub import build, load, load_target
from hubfast.pathway import HubPathway, PathwayGenerator
from hubfast.pathway.models import HubModel, ResizedBatch, hub_models
from hubfast.scores import logme
from hubfast.tuning import teacher_weights

RESULTS = Path(__file__).parent / "results" / "pathway_accuracy.csv"
HUB = ("resnet_letters", "slim_digits", "efficientnet_shapes", "byobnet_letters", "vit_textures")
TARGETS = ("handwritten", "lowercase", "outlines")
SEEDS = (0, 1, 2)
EPOCHS, BATCH, RATE, DECAY = 25, 32, 1e-3, 0.05
TEMPERATURE = 2.0
VARIANTS: dict[str, dict] = {
    "pathway": {},
    "ranked start": {"ranked": True},
    "ranked start, no exploration": {"ranked": True, "exploration": 0.0},
    "ranked start, entropy of samples": {"ranked": True, "entropy": "sample"},
    "ranked start, k = 1": {"ranked": True, "k": 1},
    "no noise": {"noise": False},
    "no exploration": {"exploration": 0.0},
    "entropy of samples": {"entropy": "sample"},
    "no exploitation": {"exploitation": 0.0},
    "no noise, no exploration": {"noise": False, "exploration": 0.0},
    "k = 1": {"k": 1},
    "k = 3": {"k": 3},
    "k = 4": {"k": 4},
    "k = 5": {"k": 5},
    "sum": {"aggregator": "sum"},
    "features": {"aggregator": "features"},
}
FIELDS = ("target", "seed", "method", "accuracy", "load_cv", "largest_share", "entropy", "seconds")
Loss = Callable[[Tensor, Tensor], Tensor]


@lru_cache(maxsize=1)
def data(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    target = load_target(name)
    images, test = (
        torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
        for x in (target.images, target.test_images)
    )
    labels, held = map(torch.from_numpy, (target.targets, target.test_targets))
    return images, labels, test, held, len(target.class_names or ())


def fit(module: nn.Module, loss: Loss, images: Tensor, labels: Tensor, seed: int) -> None:
    torch.manual_seed(seed)
    steps = max(1, len(images) // BATCH)
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * steps)
    module.train()
    for _ in range(EPOCHS):
        for index in torch.randperm(len(images)).tensor_split(steps):
            optimizer.zero_grad()
            loss(images[index], labels[index]).backward()
            optimizer.step()
            schedule.step()
    module.eval()


def single(name: str, classes: int, seed: int) -> HubModel:
    torch.manual_seed(seed)  # of the new head
    return hub_models([load(name)], classes)[0]


@torch.inference_mode()
def logits(model: HubModel, images: Tensor) -> Tensor:
    return model(ResizedBatch(images).of(model.size))


@torch.inference_mode()
def features(name: str, images: Tensor) -> Tensor:
    """Of a model as it came."""
    (model,) = hub_models([load(name)], None)
    x = model.normalised(ResizedBatch(images).of(model.size))
    return model.module.forward_head(model.module.forward_features(x), pre_logits=True)


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(1) == labels).double().mean())


def baselines(target: str, seed: int) -> list[dict]:
    """Every single model, their ensemble, and a student of the ensemble."""
    images, labels, test, held, classes = data(target)
    rows, teachers = [], []
    for name in HUB:
        started = time.perf_counter()
        model = single(name, classes, seed)

        def loss(x: Tensor, y: Tensor, model: HubModel = model) -> Tensor:
            return cross_entropy(model(ResizedBatch(x).of(model.size)), y)

        fit(model, loss, images, labels, seed)
        teachers.append(model)
        spent = time.perf_counter() - started
        rows.append({"method": name, "accuracy": accuracy(logits(model, test), held)})
        rows[-1]["seconds"] = spent
    answers = torch.stack([logits(m, test).softmax(1) for m in teachers]).mean(0)
    rows.append({"method": "ensemble", "accuracy": accuracy(answers, held)})
    rows[-1]["seconds"] = sum(row["seconds"] for row in rows[: len(HUB)])
    started = time.perf_counter()
    student = single(HUB[0], classes, seed)

    def distil(x: Tensor, y: Tensor) -> Tensor:
        out = student(ResizedBatch(x).of(student.size))
        soft = torch.stack([(logits(m, x) / TEMPERATURE).softmax(1) for m in teachers]).mean(0)
        taught = kl_div((out / TEMPERATURE).log_softmax(1), soft.clone(), reduction="batchmean")
        return (cross_entropy(out, y) + TEMPERATURE**2 * taught) / 2

    fit(student, distil, images, labels, seed)
    rows.append({"method": "distill", "accuracy": accuracy(logits(student, test), held)})
    rows[-1]["seconds"] = rows[-2]["seconds"] + time.perf_counter() - started
    return rows


def pathway(target: str, seed: int, variant: str) -> list[dict]:
    """One variant of the hub; its load on the test images, without noise."""
    import timm

    images, labels, test, held, classes = data(target)
    options = {"k": 2, "executor": "loop", "entropy": "batch", **VARIANTS[variant]}
    started = time.perf_counter()
    torch.manual_seed(seed)
    noise = options.pop("noise", True)
    if options.pop("ranked", False):
        scores = [logme(features(name, images), labels) for name in HUB]
        options["prior"] = teacher_weights(scores, 1 / len(images)).tolist()
    networks = [timm.create_model("test_resnet", num_classes=len(HUB)) for _ in range(1 + noise)]
    generator = PathwayGenerator(*networks)
    hub = HubPathway(
        {name: load(name) for name in HUB}, classes=classes, generator=generator, **options
    )
    fit(hub, lambda x, y: sum(hub.losses(x, y).values()), images, labels, seed)
    with torch.inference_mode():
        found = accuracy(hub(test), held)
    assert hub.routes is not None
    share = hub.routes.counts.double() / hub.routes.counts.sum()
    row = {
        "method": variant,
        "accuracy": found,
        "load_cv": float(share.std(correction=0) / share.mean()),
        "largest_share": float(share.max() * hub.k),  # of the images that run on it
        "entropy": float(hub.routes.entropy[0]),
        "seconds": time.perf_counter() - started,
    }
    return [row]


def run(most: int | None) -> None:
    build(HUB, progress=False)
    known = {(r["target"], r["seed"], r["method"]) for r in rows()}
    jobs = [(v, t, s) for s in SEEDS for v in ("baselines", *VARIANTS) for t in TARGETS]
    last = {"baselines": "distill"}
    missing = [j for j in jobs if (j[1], str(j[2]), last.get(j[0], j[0])) not in known]
    for what, target, seed in missing[:most]:
        found = baselines(target, seed) if what == "baselines" else pathway(target, seed, what)
        new = not RESULTS.exists()
        with RESULTS.open("a", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
            if new:
                writer.writeheader()
            for row in found:
                shown = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()}
                writer.writerow({"target": target, "seed": seed, **shown})
        print(target, seed, what, *(f"{row['accuracy']:.3f}" for row in found), flush=True)


def rows() -> list[dict[str, str]]:
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


def summary(console: Console) -> None:
    """Means over seeds, and the paired difference from `pathway` with its 95 % t-interval."""
    found = {(r["method"], r["target"], r["seed"]): r for r in rows()}
    base = {key[1:]: float(r["accuracy"]) for key, r in found.items() if key[0] == "pathway"}
    table = Table("method", *TARGETS, "mean", "minus pathway", "load CV", "largest", box=None)
    for method in (*HUB, "best single", "ensemble", "distill", *VARIANTS):
        runs = {key: r for key in base if (r := _runs(found, method, key)) is not None}
        if not runs:
            continue
        means = [
            f"{np.mean(values):.3f}" if values else "-"
            for t in TARGETS
            if (values := [v[0] for key, v in runs.items() if key[0] == t]) is not None
        ]
        gaps = np.array([v[0] - base[key] for key, v in runs.items()])
        half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
        loads = [
            f"{np.mean(known):.2f}" if (known := [v[i] for v in runs.values() if v[i]]) else ""
            for i in (1, 2)
        ]
        gap = f"{gaps.mean():+.3f} ± {half:.3f}" if method != "pathway" else ""
        every = f"{np.mean([v[0] for v in runs.values()]):.3f}"
        table.add_row(method, *means, every, gap, *loads)
    console.print(table)


def _runs(
    found: dict, method: str, key: tuple[str, str]
) -> tuple[float, float | None, float | None] | None:
    if method == "best single":  # chosen on the test set: a bound, not a method
        known = [float(found[name, *key]["accuracy"]) for name in HUB if (name, *key) in found]
        return (max(known), None, None) if len(known) == len(HUB) else None
    row = found.get((method, *key))
    if row is None:
        return None
    load, share = (float(row[f]) if row[f] else None for f in ("load_cv", "largest_share"))
    return float(row["accuracy"]), load, share


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    summary(Console(width=140))
