import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.scores import LEEP, NCE, leep, nce


def outputs(count=300, sources=6, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    logits = torch.randn(classes, sources, generator=g)[labels]
    return (logits + torch.randn(count, sources, generator=g)).double().softmax(1), labels


def leep_sample_by_sample(theta, labels):
    theta, labels = theta.double().numpy(), labels.numpy()
    joint = np.array([theta[labels == y].sum(0) for y in np.unique(labels)]) / len(theta)
    given_source = joint / joint.sum(0)
    index = np.unique(labels, return_inverse=True)[1]
    return np.mean([np.log(given_source[y] @ row) for y, row in zip(index, theta, strict=True)])


def test_leep_by_hand():
    # Outputs say nothing: P(y | z) = P(y), so the score is minus the entropy of the labels.
    assert leep(np.full((4, 2), 0.5), [0, 0, 0, 1]) == pytest.approx(
        0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    )
    assert leep(np.eye(2)[[0, 1, 0, 1]], [5, 9, 5, 9]) == 0.0


def test_leep_equals_its_definition():
    theta, labels = outputs()
    assert leep(theta, labels) == pytest.approx(leep_sample_by_sample(theta, labels), rel=1e-12)


def test_leep_takes_source_classes_without_mass():
    theta, labels = outputs()
    padded = torch.cat([theta, torch.zeros(300, 3)], 1)
    assert leep(padded, labels) == pytest.approx(leep(theta, labels), rel=1e-14)


def test_leep_in_low_precision():
    theta, labels = outputs()
    assert leep(theta.bfloat16(), labels) == pytest.approx(leep(theta, labels), abs=5e-3)


@given(seed=st.integers(0, 10**6), classes=st.integers(1, 6), sources=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_bounds_and_invariances(seed, classes, sources):
    theta, labels = outputs(40, sources, classes, seed)
    counts = labels.bincount()[labels.unique()] / 40
    silent = float((counts * counts.log()).sum())
    score, hard = leep(theta, labels), nce(theta.argmax(1), labels)
    assert silent - 1e-5 <= score <= 1e-12
    assert silent - 1e-5 <= hard <= 1e-12
    shuffled = torch.randperm(40)
    renamed = (3 * labels - 7)[shuffled]
    assert leep(theta[shuffled], renamed) == pytest.approx(score, rel=1e-9, abs=1e-12)
    assert nce(theta.argmax(1)[shuffled], renamed) == pytest.approx(hard, rel=1e-9, abs=1e-12)


def test_one_hot_outputs_make_leep_equal_nce():
    theta, labels = outputs()
    hard = theta.argmax(1)
    one_hot = torch.nn.functional.one_hot(hard, 6).double()
    assert leep(one_hot, labels) == pytest.approx(nce(hard, labels), rel=1e-12)


def test_nce_by_hand():
    # Source 0 sees targets 0, 0, 1; source 1 sees 1: -H = 1/4 (2 log 2/3 + log 1/3 + log 1).
    expected = (2 * math.log(2 / 3) + math.log(1 / 3)) / 4
    assert nce([0, 0, 0, 1], [0, 0, 1, 1]) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["leep", "nce"])
def test_influence_gives_the_spread_of_fresh_data(kind):
    g = torch.Generator().manual_seed(1)
    prototypes = torch.randn(3, 6, generator=g)
    scores, errors = [], []
    for _ in range(300):
        labels = torch.randint(0, 3, (300,), generator=g)
        logits = prototypes[labels] + torch.randn(300, 6, generator=g)
        theta = (2 * logits).softmax(1)
        fitted = LEEP.fit(theta, labels) if kind == "leep" else NCE.fit(theta.argmax(1), labels)
        scores.append(fitted.score)
        errors.append(float(fitted.influence().std()) / 300**0.5)
        assert fitted.influence().mean().item() == pytest.approx(fitted.score, rel=1e-6)
    assert np.mean(errors) == pytest.approx(np.std(scores), rel=0.2)


def test_bad_input_is_named():
    theta, labels = outputs()
    with pytest.raises(ValueError, match=r"probabilities must be >= 0; apply softmax"):
        leep(theta.log(), labels)
    with pytest.raises(ValueError, match=r"add up to 1 in each row, got a row off by 1"):
        leep(2 * theta, labels)
    with pytest.raises(ValueError, match=r"probabilities must be finite"):
        leep(theta * float("nan"), labels)
    with pytest.raises(ValueError, match=r"source_labels and targets differ: 300 and 299"):
        nce(labels, labels[1:])
    with pytest.raises(TypeError, match=r"source_labels: targets must be numeric"):
        nce(["a"], [0])
    with pytest.raises(ValueError, match=r"targets: targets for classification must be \(2,\)"):
        nce([0, 1], [[0, 1], [1, 0]])


@given(
    labels=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=25),
)
@settings(max_examples=40, deadline=None)
def test_the_influence_of_nce_is_what_leaving_a_sample_out_does(labels):
    z, y = torch.tensor(labels).T
    count, found = len(z), NCE.fit(z, y)
    others = [torch.arange(count) != i for i in range(count)]
    expected = torch.tensor(
        [count * found.score - (count - 1) * nce(z[kept], y[kept]) for kept in others],
        dtype=torch.float64,
    )
    moved = expected - expected.mean() + found.score
    torch.testing.assert_close(found.influences, moved, rtol=1e-9, atol=1e-9)
    assert float(found.influences.mean()) == pytest.approx(found.score, abs=1e-12)
