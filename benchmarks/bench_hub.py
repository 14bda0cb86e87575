"""LogME of a hub of 24 models: hubfast, models in parallel, against a loop of the public algorithm.

python -m pytest benchmarks/bench_hub.py
"""

import numpy as np
import pytest
from rivals import public_logme

from hubfast.scores import fit_hub

COUNT, CLASSES = 4_000, 100
WIDTHS = [512, 512, 768, 1_024, 1_280, 2_048] * 4  # ResNet-18 and -34, ViT, DenseNet, EfficientNet


def public(hub: list[np.ndarray], labels: np.ndarray) -> list[float]:
    return [public_logme(features, labels) for features in hub]


def hubfast(hub: list[np.ndarray], labels: np.ndarray) -> list[float]:
    return [fitted.score for fitted in fit_hub(hub, labels)]


@pytest.fixture(scope="module")
def hub():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, COUNT)
    return [
        (0.3 * rng.normal(size=(CLASSES, width))[labels] + rng.normal(size=(COUNT, width)))
        .clip(0)
        .astype(np.float32)
        for width in WIDTHS
    ], labels


WHO = {"hubfast": hubfast, "public": public}


@pytest.mark.parametrize("who", WHO)
def test_hub(benchmark, hub, who):
    benchmark.group = f"LogME of {len(WIDTHS)} models, n={COUNT} C={CLASSES}"
    benchmark.pedantic(WHO[who], hub, rounds=3, warmup_rounds=1)
