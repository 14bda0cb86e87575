"""Tiny models of texts in folders, and texts whose words say their class."""

import numpy as np
import torch
from text_models import FAMILIES

from hubfast.data import as_target_data
from hubfast.tuning import Recipe, Trainer

WORDS = (["good", "fine", "very"], ["bad", "dull", "plot"], ["cast", "the", "a"])


def save(folder, family="bert", seed=0, *, dropout=True):
    """The spec of a tiny model of a family, saved in a new folder."""
    place = folder / f"{family.replace(' ', '_')}_{seed}"
    place.mkdir(parents=True)
    torch.manual_seed(seed)
    model = FAMILIES[family](place)
    for name in vars(model.config) if not dropout else ():
        if "dropout" in name and getattr(model.config, name):
            setattr(model.config, name, 0.0)
    model.save_pretrained(place)
    return f"hf:{place}"


def texts(count=40, classes=2, seed=0):
    """Texts of one to eight words, and their classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    found = [" ".join(rng.choice(WORDS[label], rng.integers(1, 9))) for label in labels]
    return found, labels


def data(count=40, classes=2, seed=0):
    found, labels = texts(count, classes, seed)
    return as_target_data((found, [["no", "yes", "so"][label] for label in labels]), name="words")


def trainer(epochs=2, **options):
    recipe = Recipe(epochs=epochs, batch_size=8, lr=3e-3)
    return Trainer(recipe, accelerator="cpu", progress=False, **options)
