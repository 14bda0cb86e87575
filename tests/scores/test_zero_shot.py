"""Zero-shot accuracy and confidence, by hand, and their influences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.scores import zero_shot
from hubfast.scores.registry import SCORES, names_of
from hubfast.scores.zero_shot import fit_confidence, fit_zero_shot

P = np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]])


def test_by_hand():
    found = fit_zero_shot(P, np.array([0, 1, 2, 1]))
    assert found.influence().tolist() == [1.0, 0.5, 1.0, 0.0]  # two classes share the second
    assert found.score == zero_shot(torch.from_numpy(P), [0, 1, 2, 1]) == 2.5 / 4
    sure = fit_confidence(P)
    assert sure.influence().tolist() == [0.7, 0.4, 0.8, 0.6]
    assert sure.score == pytest.approx(0.625)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(2, 40), classes=st.integers(2, 6), seed=st.integers(0, 999))
def test_it_is_the_mean_of_its_influences_whatever_the_order_of_samples_and_classes(
    n, classes, seed
):
    rng = np.random.default_rng(seed)
    logits, y = rng.integers(0, 4, (n, classes)).astype(float), rng.integers(0, classes, n)
    found = fit_zero_shot(logits, y)
    assert found.score == pytest.approx(float(found.influence().mean()))
    assert 0 <= found.score <= 1
    rows, columns = rng.permutation(n), rng.permutation(classes)
    moved = np.argsort(columns)[y]
    assert zero_shot(logits[rows], y[rows]) == pytest.approx(found.score)
    assert zero_shot(logits[:, columns], moved) == pytest.approx(found.score)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="targets must be columns of probabilities, of which 3"):
        zero_shot(P, [0, 1, 2, 3])
    with pytest.raises(ValueError, match="probabilities must be >= 0 and add up to 1"):
        fit_confidence(2 * P)


def test_what_looks_at_no_label():
    assert [name for name, score in SCORES.items() if not score.labels] == [
        *("zero_shot_confidence", "parameters", "imagenet")
    ]
    prompts = {*names_of()} - {*names_of(prompts=False)}
    assert prompts == {"zero_shot", "zero_shot_confidence"}
