"""What a model's user should know of how it is run is said in its row."""

import numpy as np
import pytest
import torch

from hubfast import rank
from hubfast.hub import Network, Source


def constant(images):
    return torch.stack([torch.tensor([float(np.asarray(image).mean()), 1.0]) for image in images])


@pytest.fixture
def ranking():
    def source(name, note, *notes):
        return Source(name, lambda: Network(constant, notes=notes), note=note)

    images = np.random.default_rng(0).integers(0, 255, (12, 4, 4, 3), dtype=np.uint8)
    hub = [
        source("plain", ""),
        source("first", "", "its weights were matched by order"),
        source("second", "", "its weights were matched by order"),
        source("third", "of a friend", "it has no classifier"),
    ]
    return rank(hub, (images, np.arange(12) % 2), progress=False)


def test_the_notes_of_a_model_follow_those_of_the_hub_file(ranking):
    assert {m.name: m.note for m in ranking} == {
        "plain": "",
        "first": "its weights were matched by order",
        "second": "its weights were matched by order",
        "third": "of a friend; it has no classifier",
    }


def test_equal_notes_are_printed_once_with_the_names_of_their_models(ranking):
    lines = str(ranking).splitlines()
    assert "note: first, second: its weights were matched by order" in lines
    assert "note: third: of a friend; it has no classifier" in lines


def test_a_model_need_not_have_notes():
    class Bare:
        parameters, imagenet = None, None

        def batches(self, data, options):
            return Network(constant).batches(data, options)

    images = np.random.default_rng(0).integers(0, 255, (12, 4, 4, 3), dtype=np.uint8)
    found = rank([Source("bare", Bare)], (images, np.arange(12) % 2), progress=False)
    assert (found[0].error, found[0].note) == (None, "")
