"""Arguments of rank of the wrong kind: refused by name before any model runs."""

import numpy as np
import pytest
import torch

from hubfast import rank

NAN = float("nan")
WHOLE = ["a", 2.5, NAN, True, [], -1]
REFUSED = {
    "batch_size": [*WHOLE, 0],
    "samples": [*WHOLE, 0],
    "workers": WHOLE,
    "seed": [*WHOLE, None],
    "top": [*WHOLE, None, 0],
    "confidence": ["a", None, True, 0, 1, NAN],
    "tolerance": ["a", None, -1, NAN],
    "max_unreadable": ["a", None, -0.1, 1.1, NAN],
    "memory": ["a", "", 0, NAN, []],
    "budget": ["a", "", 0, NAN, []],
    "metric": [None, 3, [], "magic"],
    "metrics": ["logme", [], 3, ["logme", "logme"]],
    "task": [3, "magic"],
    "precision": [3, None],
    "device": ["", "magic"],
}


def never(rows):
    raise AssertionError("a model ran")


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values]
)
def test_an_argument_of_the_wrong_kind_is_refused_by_name(name, value):
    race = {"race": True} if name in ("top", "confidence", "tolerance") else {}
    data = torch.zeros(30, 2), np.arange(30) % 3
    with pytest.raises((ValueError, TypeError), match=rf"^{name} "):
        rank([never, never], data, cache=False, progress=False, **race, **{name: value})


def test_whole_numbers_of_numpy_are_whole():
    data = torch.randn(30, 2), np.arange(30) % 3
    options = {name: np.int64(20) for name in ("batch_size", "samples", "seed")}
    found = rank(lambda rows: rows, data, cache=False, progress=False, **options)
    assert found.models[0].error is None
