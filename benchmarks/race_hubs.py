"""Hubs for `race_simulation.py`: the exact LogME of every model at every look of a race.

Simulated features are a ReLU of random projections of one latent of the hub, seen by each model
through noise of its own: a model of quality q sees q z + sqrt(1 - q^2) e. Real ones are those of
the ten models that the mini-hub ships, on new images of its source tasks; hubs of one task have
the same images in other orders.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hubfast.minihub import load, model_names
from hubfast.minihub.tasks import source_images
from hubfast.minihub.training import prepare
from hubfast.ranking.looks import look_sizes
from hubfast.scores.logme.logme import LogME
from hubfast.scores.statistics import FeatureStatistics

SAMPLES, CLASSES, LATENT = 4096, 10, 32
ROWS = 512  # influences at a look, at most
WIDTHS = (32, 64, 128, 256)
REAL = ("fonts", "letters", "shapes", "textures")


@dataclass(frozen=True, eq=False)
class Looks:
    """What each look tells of the M models of one hub."""

    sizes: tuple[int, ...]  # samples at each look
    scores: np.ndarray  # (M, looks)
    influences: list[np.ndarray]  # of each look, (M, q)

    def save(self, path: Path) -> None:
        every = {f"influences_{i}": x.astype(np.float32) for i, x in enumerate(self.influences)}
        np.savez(path, sizes=np.array(self.sizes), scores=self.scores, **every)

    @classmethod
    def load(cls, path: Path) -> "Looks":
        with np.load(path) as file:
            sizes = tuple(int(n) for n in file["sizes"])
            every = [file[f"influences_{i}"].astype(float) for i in range(len(sizes))]
            return cls(sizes, file["scores"], every)


def separable(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """40 models, three of them clearly the best: qualities and widths."""
    quality = np.concatenate([rng.uniform(0.75, 0.9, 3), rng.uniform(0.2, 0.6, 37)])
    return quality, rng.choice([64, 96, 128], 40)


def mixed(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """40 models of widths 32 to 256, narrow ones of better quality, so that all widths compete."""
    widths = rng.choice(WIDTHS, 40)
    quality = rng.normal(0.5, 0.08, 40).clip(0.2, 0.75)
    return quality + 0.07 * np.log2(256 / widths), widths


def near_ties(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """24 models: narrow ones lead at first, wide ones overtake them, and all end side by side."""
    quality = np.concatenate([rng.normal(0.74, 0.005, 12), rng.normal(0.53, 0.005, 12)])
    return quality, np.repeat([32, 256], 12)


SIMULATED = {"separable": separable, "widths mixed": mixed, "near ties": near_ties}


def simulated(kind: str, seed: int) -> Looks:
    """One hub of a kind; its classes are in proportion at every prefix of the samples."""
    rng = np.random.default_rng([seed, *kind.encode()])
    quality, widths = SIMULATED[kind](rng)
    labels = np.concatenate([rng.permutation(CLASSES) for _ in range(-(-SAMPLES // CLASSES))])
    labels = labels[:SAMPLES]
    centres = rng.normal(size=(CLASSES, LATENT)) * 0.6
    latent = (centres[labels] + rng.normal(size=(SAMPLES, LATENT))).astype(np.float32)

    def features() -> Iterator[Tensor]:
        for q, width in zip(quality, widths, strict=True):
            noise = rng.standard_normal((SAMPLES, LATENT), np.float32)
            seen = np.float32(q) * latent + np.float32(np.sqrt(1 - q * q)) * noise
            weights = rng.standard_normal((LATENT, width), np.float32) / np.float32(LATENT**0.5)
            offset = rng.standard_normal(width, np.float32) / 2
            yield torch.from_numpy(np.maximum(seen @ weights + offset, 0))

    return looks_of(features(), torch.from_numpy(labels))


def real(task: str, seed: int) -> Looks:
    """The mini-hub on 4,096 images of a source task, in an order of their own."""
    models, labels = mini_hub(task)
    order = in_proportion(labels, seed)
    features = (torch.from_numpy(x[order]) for x, _ in models)
    return looks_of(features, torch.from_numpy(labels[order]))


def in_proportion(labels: np.ndarray, seed: int) -> np.ndarray:
    """A random order in which every prefix has the classes in proportion."""
    rng, place = np.random.default_rng(seed), np.empty(len(labels))
    for c in np.unique(labels):
        members = np.flatnonzero(labels == c)
        place[rng.permutation(members)] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(place)


@lru_cache(maxsize=1)
def mini_hub(task: str) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Features `(n, D)` and source probabilities `(n, Cs)` of each shipped model, and labels."""
    images, labels, _ = source_images(task, SAMPLES, seed=1)
    models = []
    for name in model_names():
        model = load(name)
        with torch.inference_mode():
            maps = [model.forward_features(x) for x in prepare(model, images).split(128)]
            features = torch.cat([model.forward_head(x, pre_logits=True) for x in maps])
            probabilities = torch.cat([model.forward_head(x) for x in maps]).softmax(1)
        models.append((features.numpy(), probabilities.numpy()))
    return models, labels


def looks_of(models: Iterator[Tensor], targets: Tensor) -> Looks:
    """LogME of all looks, statistics of each model updated by the new samples only.

    Args:
        models: The features of each model, `(N, D)`.
        targets: `(N,)` classes, or `(N,)` float64.
    """
    classes = 1 if targets.is_floating_point() else len(targets.unique())
    sizes = look_sizes(len(targets), classes)
    scores, influences = [], []
    for features in models:
        stats, seen, row = FeatureStatistics(), 0, []
        for n in sizes:
            stats.update(features[seen:n], targets[seen:n])
            fitted = LogME.from_statistics(stats)
            few = slice(min(n, ROWS) if n < len(targets) else 1)  # the end needs none
            row.append((fitted.score, fitted.influence(features[few], targets[few])))
            seen = n
        scores.append([score for score, _ in row])
        influences.append([x.numpy() for _, x in row])
    columns = [np.stack([x[i] for x in influences]) for i in range(len(sizes))]
    return Looks(sizes, np.array(scores), columns)
