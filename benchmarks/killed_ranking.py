"""Kills a ranking at random points, goes on, and compares with one that was left alone.

`python benchmarks/killed_ranking.py --kills 50` prints a line for each point: what was computed
twice, and whether the ranking is the same to the last bit. Two processes that rank at once with one
cache are compared, too.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import hubfast
from hubfast import as_source

COUNT, WIDTH, MODELS, CLASSES = 2600, 12, 3, 4
BLOCK = 1024  # samples of the largest block
PAUSE = 0.01  # seconds that a model takes for a batch


class Slow:
    """A callable from rows to features that notes in a file what it was run on."""

    def __init__(self, features: np.ndarray, log: Path):
        self.features, self.log = features, log

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        time.sleep(PAUSE)
        with self.log.open("a") as file:
            file.write(f"{len(rows)}\n")
        return torch.from_numpy(self.features[rows[:, 0].long()])


def ranking(log: Path, **options):
    """Ranks three slow models."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, CLASSES, COUNT)
    signal_ = np.eye(CLASSES)[targets] @ generator.normal(size=(CLASSES, WIDTH))
    hub = []
    for i in range(MODELS):
        features = (1 - 0.2 * i) * signal_ + generator.normal(size=(COUNT, WIDTH))
        hub.append(as_source(Slow(features, log), name=f"m{i}", key=f"m{i}"))
    data = torch.arange(COUNT)[:, None].float(), targets
    return hubfast.rank(hub, data, progress=False, metrics=["logme", "knn"], **options)


def numbers(found) -> str:
    """All numbers of a ranking, to the last bit."""
    return repr([(m.name, m.score, m.low, m.high, m.tied, m.scores.keys()) for m in found])


def ran(log: Path) -> int:
    """Samples that the models were run on."""
    return sum(map(int, log.read_text().split())) if log.exists() else 0


def start(log: Path, folder: Path) -> int:
    """Ranks in a process of its own; gives its number."""
    child = os.fork()
    if child:
        return child
    ranking(log, cache_dir=folder)
    os._exit(0)


def kill_at(after: float, whole: str) -> tuple[bool, int]:
    """Kills a ranking, lets another go on: whether it is the same, and what was computed twice."""
    with tempfile.TemporaryDirectory() as scratch:
        log, folder = Path(scratch) / "log", Path(scratch) / "cache"
        child = start(log, folder)
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = ranking(log, cache_dir=folder)
        return numbers(found) == whole, ran(log) - COUNT * MODELS


def two_at_once(whole: str) -> bool:
    """Whether two that rank at the same time, with one cache, both come to the same."""
    with tempfile.TemporaryDirectory() as scratch:
        log, folder = Path(scratch) / "log", Path(scratch) / "cache"
        child = start(log, folder)
        found = ranking(log, cache_dir=folder)
        status = os.waitpid(child, 0)[1]
        again = ranking(log, cache_dir=folder)
        return status == 0 and numbers(found) == numbers(again) == whole


def main() -> int:
    """Gives the number of points at which something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that a process may be forked
    with tempfile.TemporaryDirectory() as scratch:
        ranking(Path(scratch) / "log", cache=False)  # imports what is slow to import
        begun = time.monotonic()
        whole = numbers(ranking(Path(scratch) / "log", cache=False))
        lasts = time.monotonic() - begun
    generator, faults = random.Random(options.seed), 0
    for point in range(options.kills):
        after = generator.uniform(0, 1.1 * lasts)
        same, twice = kill_at(after, whole)
        wrong = not same or twice > BLOCK
        faults += wrong
        print(
            f"{point}: killed after {after:.3f} s, {twice} samples twice, same: {same}", flush=True
        )
    together = two_at_once(whole)
    print(f"two at once: same: {together}")
    return faults + (not together)


if __name__ == "__main__":
    sys.exit(main())
