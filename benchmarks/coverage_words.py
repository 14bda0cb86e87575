"""How often the 95 % intervals of scores of words hold what they should, on simulated sentences.

python benchmarks/coverage_words.py [--repeats 200] [--scores logme ...] [--sentences 50] [--record]

The words of a sentence have something in common: what they are about, which each model sees with
some noise, and how many of them have a rare tag. Each repeat draws new sentences of 1 to 25 words.
An interval should hold the mean of the score over the repeats. It is taken twice: by sentences, as
a ranking does (influences of the words of a sentence are summed, and scores that leave words out
leave sentences out), and as if each word had been drawn by itself. The same repeats tell how often
two models that are equally good are told apart.
"""

import argparse
import json
import warnings
from dataclasses import asdict, dataclass

import numpy as np
import torch
from recording import RESULTS, machine

from hubfast.scores.bootstrap import bootstrap
from hubfast.scores.registry import SCORES, names_of
from hubfast.scores.streamed import StreamedScores

HIDDEN, TAGS, LONGEST = 12, 3, 25
CASES = ((50, 20), (200, 20), (200, 100))  # sentences, features
COMMON = 0.8  # standard deviation of what the words of a sentence have in common
USUAL = ("logme", "h_score", "regularized_h_score", "gbc", "transrate")


@dataclass(frozen=True)
class WordRow:
    """What the repeats of one kind of data say of a score."""

    score: str
    sentences: int
    width: int
    covered: float  # share of the repeats, by sentences
    width_ratio: float  # mean half-width over that of the true spread, by sentences
    told_apart: float  # share of repeats in which equal models are, by sentences
    covered_by_words: float
    width_ratio_by_words: float
    told_apart_by_words: float


def sample(sentences: int, width: int, seed: int) -> tuple[list[torch.Tensor], ...]:
    """Features of two equal models, and the tags and the sentence of each word."""
    fixed, draw = np.random.default_rng(7), np.random.default_rng(seed)
    mix, means = fixed.normal(size=(HIDDEN, width)) / 3, fixed.normal(size=(TAGS, HIDDEN)) / 2
    lengths = draw.integers(1, LONGEST + 1, sentences)
    owners = np.arange(sentences).repeat(lengths)
    rare = draw.beta(0.5, 1.5, size=(sentences, TAGS - 1))[owners] / TAGS
    chance = np.cumsum(np.column_stack([1 - rare.sum(1), rare]), 1)
    tags = (draw.random(len(owners))[:, None] > chance).sum(1).clip(0, TAGS - 1)
    common = COMMON * draw.normal(size=(sentences, HIDDEN))[owners]
    hidden = means[tags] + common + draw.normal(size=(len(owners), HIDDEN))
    features = []
    for _ in range(2):
        of_sentence = draw.normal(size=(sentences, HIDDEN))[owners]
        own = 0.5 * draw.normal(size=hidden.shape) + 0.4 * of_sentence
        features.append(torch.from_numpy(np.maximum((hidden + own) @ mix, 0)))
    return features, [torch.from_numpy(tags), torch.from_numpy(owners)]


def measured(name: str, sentences: int, width: int, repeats: int) -> WordRow:
    """Scores two equal models of each repeat, by sentences and by words."""
    values: dict[bool, list[float]] = {True: [], False: []}
    ends: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    apart = {True: 0, False: 0}
    for repeat in range(repeats):
        features, (tags, owners) = sample(sentences, width, 1000 + repeat)
        for together in (True, False):
            scored = []
            for x in features:
                scores = StreamedScores([name], "classification", len(tags), interval=2048)
                scores.update(tags, x, None, clusters=owners if together else None)
                scored.append(scores.score(name))
            low, high, tied = bootstrap(
                [s.score for s in scored], [s.influence for s in scored], scored[0].count, repeat
            )
            ends[together].append((float(low[0]), float(high[0])))
            apart[together] += not all(tied)
            values[together].append(scored[0].score)
    found = {}
    for together in (True, False):
        mean, spread = np.mean(values[together]), np.std(values[together])
        low, high = np.array(ends[together]).T
        inside = float(((low <= mean) & (mean <= high)).mean())
        found[together] = (inside, float((high - low).mean() / 2 / (1.96 * spread)))
    return WordRow(
        *(name, sentences, width, *found[True], apart[True] / repeats),
        *(*found[False], apart[False] / repeats),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [n for n in names_of(needs=["statistics", "samples"]) if n in SCORES]
    parser.add_argument("--scores", nargs="+", choices=known, default=list(USUAL))
    cases = sorted({case[0] for case in CASES})
    parser.add_argument("--sentences", nargs="+", type=int, choices=cases, default=cases)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--record", action="store_true", help="keep the rows in results/")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in options.scores:
        for case in (case for case in CASES if case[0] in options.sentences):
            row = asdict(measured(name, *case, options.repeats))
            print(json.dumps(row), flush=True)
            if options.record:
                with (RESULTS / "coverage_words.jsonl").open("a") as file:
                    kept = {**row, "repeats": options.repeats, **machine()}
                    file.write(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
