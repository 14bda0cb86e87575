"""Models that workers run, which note where they ran and may do them harm; picklable."""

import os
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from hubfast import as_source

CLASSES, WIDTH = 4, 12


class Noted:
    """A callable from rows to features and logits that notes its process and its batch.

    Args:
        strength: Of what classes have in common.
        folder: Where it notes what it was run on, in the file `ran`.
        pause: Seconds that a batch takes.
    """

    def __init__(self, strength: float, folder: Path, pause: float = 0.0):
        generator = np.random.default_rng(int(1000 * strength))
        self.mixing = torch.from_numpy(generator.normal(size=(WIDTH + CLASSES, WIDTH))).float()
        self.strength, self.folder, self.pause = strength, folder, pause

    def __call__(self, rows):
        with (self.folder / "ran").open("a") as file:
            file.write(f"{os.getpid()} {len(rows)}\n")
        self.harm(rows)
        time.sleep(self.pause)
        features = torch.cat([rows[:, :CLASSES] * self.strength, rows[:, CLASSES:]], 1)
        features = features @ self.mixing
        return features, features[:, :CLASSES]

    def harm(self, rows):
        """What else it does."""


class Poison(Noted):
    """Ends its process."""

    def harm(self, rows):
        os._exit(3)


class Failing(Noted):
    """Fails at the third block."""

    def harm(self, rows):
        if self.ran() > 300:
            raise RuntimeError("the third block is cursed")

    def ran(self) -> int:
        """Samples that it was run on."""
        return sum(int(line.split()[1]) for line in (self.folder / "ran").read_text().splitlines())


class Sleeping(Noted):
    """Sleeps for a minute for each batch in the process that comes first."""

    def harm(self, rows):
        first = self.folder / "first"
        try:
            with first.open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            pass
        if first.read_text() == str(os.getpid()):
            time.sleep(60.0)


def problem(count: int, seed: int = 0):
    """Samples `(count, CLASSES + WIDTH)` in which the classes can be seen, and targets."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, CLASSES, count)
    noise = generator.normal(size=(count, WIDTH))
    seen = np.eye(CLASSES)[targets] + 0.3 * generator.normal(size=(count, CLASSES))
    return torch.from_numpy(np.concatenate([seen, noise], 1)).float(), targets


def hub_of(folder: Path, count: int = 4, *, pause: float = 0.0, keyed: bool = True):
    """Sources of models that differ in quality."""
    made = (Noted(1.0 + 0.5 * i, folder, pause) for i in range(count))
    return [as_source(m, name=f"m{i}", key=f"m{i}" if keyed else "") for i, m in enumerate(made)]


def ran(folder: Path) -> dict[int, int]:
    """Samples that models were run on, by process."""
    found: dict[int, int] = {}
    path = folder / "ran"
    for line in path.read_text().splitlines() if path.exists() else ():
        process, count = map(int, line.split())
        found[process] = found.get(process, 0) + count
    return found


def numbers(ranking) -> list:
    """All that must be the same to the last bit."""
    return [
        (m.name, m.score, m.low, m.high, m.tied, m.width, m.error, m.samples, m.standing)
        for m in ranking
    ]


def first_columns(rows):
    """Features are the first columns of the rows."""
    return rows[:, :3]


def warning(rows):
    """Says something as it runs."""
    warnings.warn("this is old", stacklevel=1)
    return rows[:, :4]
