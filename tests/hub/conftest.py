"""The data that sources are run over."""

import numpy as np
import pytest
from lent_modules import samples_and_classes
from sources import COUNT

from hubfast import as_target_data


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (COUNT, 20, 24, 3), dtype=np.uint8)
    return as_target_data((images, np.arange(COUNT) % 3))


@pytest.fixture
def texts():
    words = ["good film", "a bad film", "very very dull", "fine", "the good", "bad", "a fine film"]
    return as_target_data((words, np.arange(COUNT) % 2))


@pytest.fixture
def tensors():
    return samples_and_classes()
