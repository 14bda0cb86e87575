"""A hub whose models count what they are run on, and data that count how often they are read."""

import numpy as np
import torch

from hubfast import as_source

CLASSES = 4


class Counted:
    """A callable from rows to features of quality `strength`, which counts its samples."""

    def __init__(self, features, calls):
        self.features, self.calls = features, calls

    def __call__(self, rows):
        self.calls.append(len(rows))
        found = self.features[rows[:, 0].long()]
        return torch.from_numpy(found).float(), torch.from_numpy(found[:, :CLASSES]).float()


def problem(count, width=12, models=3, seed=0):
    """Samples that are their own numbers, targets, and features by model."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, CLASSES, count)
    signal = np.eye(CLASSES)[targets] @ generator.normal(size=(CLASSES, width))
    features = {
        f"m{i}": (1.0 - 0.25 * i) * signal + generator.normal(size=(count, width))
        for i in range(models)
    }
    return torch.arange(count)[:, None].float(), targets, features


def hub_of(features, *, keyed=True):
    """Sources of these features, and for each a list of the batches that it was run on."""
    calls = {name: [] for name in features}
    hub = [
        as_source(Counted(found, calls[name]), name=name, key=name if keyed else "")
        for name, found in features.items()
    ]
    return hub, calls


def numbers(ranking):
    """All that must be the same to the last bit."""
    return [(m.name, m.score, m.low, m.high, m.tied, m.width, m.error) for m in ranking]
