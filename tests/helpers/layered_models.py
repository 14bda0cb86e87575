"""Modules of several layers that note what they are run on; picklable."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from hubfast import as_source
from hubfast.hub.network import FeatureModule
from hubfast.hub.pooling import pooled_text

CLASSES, WIDTH, TOKENS = 4, 6, 3


class Deep(FeatureModule):
    """Each layer adds to the classes that the rows show, and to what is noise.

    Args:
        signal: How clearly each layer shows the classes.
        folder: Where it notes the number of rows of each batch, in the file `ran`.
        name: Its name, which the noise depends on.
    """

    def __init__(self, signal, folder: Path, name: str):
        super().__init__()
        self.signal, self.folder, self.name = signal, folder, name
        generator = torch.Generator().manual_seed(sum(map(ord, name)))
        self.mixing = torch.randn(len(signal), TOKENS, WIDTH, WIDTH, generator=generator)
        self.by = None

    def layers(self):
        return DeepLayers(self)

    def forward(self, rows):
        with (self.folder / "ran").open("a") as file:
            file.write(f"{self.name} {len(rows)}\n")
        classes, noise = rows[:, :CLASSES], rows[:, CLASSES:]
        for number, strength in enumerate(self.signal):
            seen = torch.nn.functional.pad(strength * classes, (0, WIDTH - CLASSES))
            part = noise[:, number * WIDTH : (number + 1) * WIDTH]
            hidden = torch.einsum("bd,tde->bte", seen + part, self.mixing[number])
            if self.by is not None:
                self.by.take(hidden)
        if self.by is not None:
            self.by.end(hidden)
        return hidden.mean(1), hidden[:, 0, :CLASSES]


class DeepLayers:
    """The layers of a Deep."""

    own = "mean"

    def __init__(self, model):
        self.model = model

    @contextmanager
    def heard(self, by):
        self.model.by = by
        yield
        self.model.by = None

    def pooled(self, hidden, pooling, inputs):
        return pooled_text(hidden, pooling)


def problem(count, layers=3, seed=0):
    """Rows that show the classes, with noise for each layer, and targets."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, CLASSES, count)
    noise = generator.normal(size=(count, layers * WIDTH))
    return torch.from_numpy(np.concatenate([np.eye(CLASSES)[targets], noise], 1)).float(), targets


def hub_of(folder: Path, signals, *, keyed: bool = True):
    """Sources of models with these signals by layer."""
    made = [Deep(signal, folder, f"m{i}") for i, signal in enumerate(signals)]
    return [as_source(m, name=m.name, key=m.name if keyed else "") for m in made]


def ran(folder: Path) -> int:
    """Rows that models ran on since the last look."""
    path = folder / "ran"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return sum(int(line.split()[1]) for line in lines)


def numbers(ranking) -> list:
    """All that must be the same to the last bit."""
    return [
        (
            *(m.name, m.score, m.low, m.high, m.tied, m.width, m.error, m.samples, m.standing),
            m.point,
            [(p.point, p.share, {k: s.score for k, s in p.scores.items()}) for p in m.points],
        )
        for m in ranking
    ]
