"""How well each score's `growth` foretells the score of 2,048 samples from fewer.

    python benchmarks/race_growth.py                   # all scores
    python benchmarks/race_growth.py logme pactran     # some

Of every pair of models, by how much the mean error of the foretold difference over several orders
of the same samples exceeds what a race allows for its bias; in standard deviations over orders,
the largest of all pairs. A race adds 3 to 4 of these to its margin. Simulated models, and the
mini-hub's on two of its source tasks. Appends to results/race.jsonl.
"""

import json
import sys
import warnings
from collections.abc import Callable

import numpy as np
import torch
from race_hubs import LATENT, in_proportion, mini_hub
from recording import RESULTS, on_machine
from rich.console import Console
from rich.table import Table

from hubfast.ranking.estimates import change_left, widest
from hubfast.scores.registry import SCORES
from hubfast.scores.score import Growth, Score
from hubfast.scores.statistics import FeatureStatistics

SAMPLES, CLASSES, ORDERS = 2048, 10, 3
GROWTHS: tuple[Growth, ...] = ("none", "inverse", "slow")
# Quality, width and source classes of the simulated models.
MODELS = (
    *((0.75, 32, 10), (0.6, 32, 30), (0.65, 64, 100), (0.5, 64, 30)),
    *((0.55, 128, 100), (0.45, 128, 300), (0.5, 192, 300), (0.35, 192, 1000)),
)
Hub = tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]


def simulated_outputs() -> Hub:
    """Features and source probabilities of `MODELS`, and labels."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([rng.permutation(CLASSES) for _ in range(SAMPLES // CLASSES + 1)])
    labels = labels[:SAMPLES]
    latent = (0.6 * rng.normal(size=(CLASSES, LATENT)))[labels] + rng.normal(size=(SAMPLES, LATENT))
    models = []
    for quality, width, source_classes in MODELS:
        seen = quality * latent + np.sqrt(1 - quality**2) * rng.normal(size=latent.shape)
        weights = rng.normal(size=(LATENT, width)) / LATENT**0.5
        features = np.maximum(seen @ weights + rng.normal(size=width) / 2, 0).astype(np.float32)
        logits = seen @ rng.normal(size=(LATENT, source_classes)) * 2 / LATENT**0.5
        models.append((features, torch.from_numpy(logits).softmax(1).numpy()))
    return models, labels


def real_outputs(task: str) -> Callable[[], Hub]:
    """Gives the first samples of a mini-hub's source task."""

    def outputs() -> Hub:
        models, labels = mini_hub(task)
        return [(x[:SAMPLES], p[:SAMPLES]) for x, p in models], labels[:SAMPLES]

    return outputs


def value(score: Score, outputs: tuple[np.ndarray, np.ndarray], labels: np.ndarray) -> float:
    """A score of these samples; NaN where it says nothing of so few."""
    features, probabilities = map(torch.from_numpy, outputs)
    targets = torch.from_numpy(labels)
    if score.says_nothing(*features.shape):
        return np.nan
    match score.needs:
        case "statistics":
            return score.fit(FeatureStatistics().update(features, targets)).score
        case "samples":
            return score.fit_samples(features, targets, "classification").score
        case "logits":
            return score.fit(probabilities, targets).score
    return score.fit(probabilities.argmax(1), targets).score


def curves(score: Score, hub: Hub, looks: tuple[int, ...]) -> np.ndarray:
    """The score of each order, model and look."""
    models, labels = hub
    found = np.empty((ORDERS, len(models), len(looks)))
    for seed in range(ORDERS):
        order = in_proportion(labels, seed)
        for m, (x, p) in enumerate(models):
            for i, n in enumerate(looks):
                rows = order[:n]
                found[seed, m, i] = value(score, (x[rows], p[rows]), labels[rows])
    return found


def excess(scores: np.ndarray, doublings: int, growth: Growth) -> float:
    """The excess of the last look but so many doublings, in standard deviations."""
    now = scores.shape[2] - 1 - doublings
    known = np.isfinite(scores[:, :, now - 1 :]).all((0, 2))
    scores = scores[:, known]
    low, high = change_left(growth, doublings)
    changes = scores[:, :, now] - scores[:, :, now - 1]
    errors = scores[:, :, now] + (low + high) / 2 * changes - scores[:, :, -1]
    pairs = np.triu_indices(scores.shape[1], 1)
    of_pairs = (errors[:, :, None] - errors[:, None])[:, *pairs]
    allowed = (high - low) / 2 * widest(changes.mean(0))[pairs]
    variances = of_pairs.var(0, ddof=1)  # of few orders: drawn halfway to their mean
    std = np.sqrt((variances + variances.mean()) / 2)
    return float(np.max(np.maximum(np.abs(of_pairs.mean(0)) - allowed, 0) / (std + 1e-12)))


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # scores warn of so few samples
    names = sys.argv[1:] or [
        name for name, score in SCORES.items() if score.needs not in ("nothing", "prompts")
    ]
    shown = Table(title="bias that is not allowed for, std")
    for heading in ("score", "growth", "data", *GROWTHS):
        shown.add_column(heading)
    lines = []
    sources = {"simulated": simulated_outputs}
    sources |= {task: real_outputs(task) for task in ("fonts", "letters")}
    for source, outputs in sources.items():
        hub = outputs()
        looks = (
            (256, 512, 1024, 2048) if len(np.unique(hub[1])) > 16 else (128, 256, 512, 1024, 2048)
        )
        for name in names:
            scores = curves(SCORES[name], hub, looks)
            line = {"what": f"growth of {name}, {source}", "samples": looks[1:-1]}
            left = range(len(looks) - 2, 0, -1)
            line |= {g: [round(excess(scores, k, g), 2) for k in left] for g in GROWTHS}
            lines.append(line)
            shown.add_row(name, SCORES[name].growth, source, *(str(line[g]) for g in GROWTHS))
    Console(width=120).print(shown)
    with (RESULTS / "race.jsonl").open("a") as file:
        for line in lines:
            file.write(json.dumps(on_machine(line)) + "\n")


if __name__ == "__main__":
    main()
