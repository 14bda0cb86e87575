"""How often the 95 % intervals of the scores hold what they should, on simulated data.

python benchmarks/coverage.py [--repeats 200] [--scores knn ...] [--samples 60 ...] [--record]

Features are ReLUs of random projections of 16 numbers, which depend on the class, or from which
the regression targets are made. Each repeat draws new samples of the same kind. An interval should
hold the mean of the score over the repeats: that is what the score of n samples is an estimate of.
The same repeats tell how often two models that are equally good are told apart: features of one
projection, which sees the samples with noise of its own for each model.
"""

import argparse
import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from recording import RESULTS, machine

from hubfast.scores.bootstrap import bootstrap
from hubfast.scores.registry import SCORES, names_of
from hubfast.scores.streamed import INTERVAL_SAMPLES, StreamedScores

HIDDEN, MODELS = 16, 2
CASES = (  # samples, features, classes
    *((60, 10, 3), (60, 200, 3), (300, 50, 5), (300, 200, 5)),
    *((1000, 50, 5), (3000, 50, 5)),
)
STRENGTHS = (0.4, 1.0)  # of what the features know of the class


@dataclass(frozen=True)
class Row:
    """What the repeats of one kind of data say of a score."""

    score: str
    samples: int
    width: int
    classes: int  # 0 for regression
    strength: float
    covered: float  # share of the repeats
    width_ratio: float  # mean half-width over that of the true spread
    told_apart: float  # share of repeats in which equal models are


@dataclass(frozen=True)
class World:
    """A kind of data, from which samples are drawn."""

    means: np.ndarray  # of the classes, (C, 16)
    mix: np.ndarray  # (16, D)
    strength: float

    @classmethod
    def of(cls, width: int, classes: int, strength: float) -> "World":
        draw = np.random.default_rng(7)
        mix = draw.normal(size=(HIDDEN, width)) / 4
        return cls(draw.normal(size=(max(classes, 1), HIDDEN)), mix, strength)

    def sample(
        self, count: int, classes: int, seed: int
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Features of both models, and the targets, classes in proportion as a ranking has them."""
        draw = np.random.default_rng(seed)
        hidden = draw.normal(size=(count, HIDDEN))
        if classes:
            targets = draw.permutation(np.arange(count) % classes)
            hidden = hidden + self.strength * self.means[targets]
        else:
            targets = self.strength * hidden @ self.means[0] + draw.normal(size=count)
        features = []
        for _ in range(MODELS):
            seen = hidden + 0.5 * draw.normal(size=hidden.shape)
            features.append(torch.from_numpy(np.maximum(seen @ self.mix, 0)))
        return features, torch.from_numpy(targets)


def measured(name: str, count: int, width: int, classes: int, strength: float, repeats: int) -> Row:
    """Scores two equal models of each repeat."""
    world, task = World.of(width, classes, strength), "classification" if classes else "regression"
    values, lows, highs, apart = [], [], [], 0
    for repeat in range(repeats):
        features, targets = world.sample(count, classes, 1000 + repeat)
        scored = []
        for x in features:
            scores = StreamedScores([name], task, count, interval=INTERVAL_SAMPLES)
            outputs = x if SCORES[name].needs in ("logits", "labels") else None
            scores.update(targets, x, outputs)
            scored.append(scores.score(name))
        low, high, tied = bootstrap(
            [s.score for s in scored], [s.influence for s in scored], scored[0].count, repeat
        )
        apart += not all(tied)
        values.append(scored[0].score)
        lows.append(low[0])
        highs.append(high[0])
    mean, spread = np.mean(values), np.std(values)
    inside = (np.array(lows) <= mean) & (mean <= np.array(highs))
    half = np.mean(np.array(highs) - np.array(lows)) / 2
    ratio = float(half / (1.96 * spread)) if spread > 0 else float("nan")
    return Row(name, count, width, classes, strength, float(inside.mean()), ratio, apart / repeats)


def rows(names: list[str], samples: list[int], repeats: int) -> Iterator[Row]:
    """The scores' rows, a score after the other."""
    for name in names:
        for count, width, classes in CASES:
            if count not in samples:
                continue
            for strength in STRENGTHS:
                if SCORES[name].says_nothing(count, width):
                    continue
                if "classification" in SCORES[name].tasks:
                    yield measured(name, count, width, classes, strength, repeats)
                if "regression" in SCORES[name].tasks:
                    yield measured(name, count, width, 0, strength, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = names_of(needs=["statistics", "samples", "logits", "labels"])
    parser.add_argument("--scores", nargs="+", choices=known, default=list(known))
    sizes = sorted({count for count, _, _ in CASES})
    parser.add_argument("--samples", nargs="+", type=int, choices=sizes, default=[60, 300])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--record", action="store_true", help="keep the rows in results/")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for row in rows(options.scores, options.samples, options.repeats):
        print(json.dumps(asdict(row)), flush=True)
        if options.record:
            with (RESULTS / "coverage.jsonl").open("a") as file:
                kept = {**asdict(row), "repeats": options.repeats, **machine()}
                file.write(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
