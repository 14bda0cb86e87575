"""Scores do not care whether they, or what made their features, ran in inference mode."""

import pytest
import torch
from every_score import OF_DATA, influence, value

ROWS = torch.randn(60, 6, generator=torch.Generator().manual_seed(0)).double()
CLASSES = torch.arange(60) % 3


@pytest.mark.parametrize("name", OF_DATA)
def test_inference_mode_changes_no_score(name):
    score, each = value(name, ROWS, CLASSES), influence(name, ROWS, CLASSES)
    with torch.inference_mode():
        rows, classes = ROWS.clone(), CLASSES.clone()
        assert value(name, rows, classes) == score
        assert torch.equal(influence(name, rows, classes), each)
    assert value(name, rows, classes) == score
    assert torch.equal(influence(name, rows, classes), each)
