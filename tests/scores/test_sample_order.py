"""No score changes with the order of the samples: equally near ones, duplicates, dead features."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from hubfast.scores import LEEP, NCE, FeatureStatistics, HScore, LogME
from hubfast.scores.held_out import interleaved
from hubfast.scores.knn import equally_near, knn, rightness, votes
from hubfast.scores.left_out import groups_of
from hubfast.scores.own_order import own_order
from hubfast.scores.registry import SCORES, names_of

CLASSES = 3
KINDS = ("normal", "binary", "quantised", "dead", "duplicates", "repeated", "constant", "zero")
kinds = st.sampled_from(KINDS)
seeds = st.integers(0, 10**6)
widths = st.sampled_from([2, 5, 40])
LEFT_OUT = tuple(m for m in SCORES if "groups" in inspect.signature(SCORES[m].fit).parameters)
few = settings(max_examples=25, deadline=None)


def problem(kind, width, seed, count=30):
    """Features `(count, width)` of a kind that invites ties, classes, and a permutation."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(count) % CLASSES)
    x = rng.normal(size=(count, width)) + rng.normal(size=(CLASSES, width))[y]
    match kind:
        case "binary":
            x = (x > 0).astype(float)
        case "quantised":
            x = np.round(2 * x) / 2
        case "dead":
            x[:, ::2] = 0.0
        case "duplicates":
            x[count // 2 :], y[count // 2 :] = x[: count // 2], y[: count // 2]
        case "repeated":
            x[:, 1:] = x[:, :1]
        case "constant":
            x[:] = 0.3
        case "zero":
            x[:] = 0.0
    return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(rng.permutation(count))


@pytest.mark.parametrize("metric", names_of(needs=["samples"]))
@few
@given(kind=kinds, width=widths, seed=seeds)
def test_scores_of_samples(metric, kind, width, seed):
    x, y, order = problem(kind, width, seed)
    expected = SCORES[metric].fit_samples(x, y, "classification")
    found = SCORES[metric].fit_samples(x[order], y[order], "classification")
    assert found.score == expected.score
    if metric not in LEFT_OUT:
        # Sorted, as samples that are the same may be in different folds.
        influences = (each.influence().sort().values for each in (found, expected))
        torch.testing.assert_close(*influences, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", LEFT_OUT)
@few
@given(width=widths, seed=seeds)
def test_groups_that_are_left_out_go_with_their_samples(metric, width, seed):
    x, y, order = problem("normal", width, seed)
    groups = groups_of(len(x))
    expected = SCORES[metric].fit(x, y, groups=groups)
    found = SCORES[metric].fit(x[order], y[order], groups=groups[order])
    influences = found.influence(), expected.influence()[order]
    torch.testing.assert_close(*influences, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("metric", ["knn", "linear_probe"])
@few
@given(kind=kinds, width=widths, seed=seeds)
def test_scores_of_regression(metric, kind, width, seed):
    x, y, order = problem(kind, width, seed)
    targets = torch.stack([y.double(), x.sum(1) + y.square()], 1)
    expected = SCORES[metric].fit_samples(x, targets, "regression").score
    assert SCORES[metric].fit_samples(x[order], targets[order], "regression").score == expected


def summed(metric, x, y):
    match metric:
        case "logme":
            return LogME.fit(x, y).score
        case "streamed logme":
            stats = FeatureStatistics()
            for part in torch.arange(len(x)).split(7):
                stats.update(x[part], y[part])
            return LogME.from_statistics(stats).score
        case "h_score" | "regularized_h_score":
            return HScore.fit(x, y, regularized=metric != "h_score").score
        case "leep":
            return LEEP.fit(x.softmax(1), y).score
        case "nce":
            return NCE.fit(x.argmax(1), y).score


@pytest.mark.filterwarnings("ignore:h_score says nothing", "ignore:the sums over these float64")
@pytest.mark.parametrize(
    "metric", ["logme", "streamed logme", "h_score", "regularized_h_score", "leep", "nce"]
)
@few
@given(kind=kinds, width=widths, seed=seeds)
def test_scores_of_sums(metric, kind, width, seed):
    x, y, order = problem(kind, width, seed)
    expected = summed(metric, x, y)
    assert summed(metric, x[order], y[order]) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def right(x, y, k):
    """How right k-NN is about each sample, left out."""
    unit = torch.from_numpy(x) / torch.from_numpy(x).norm(dim=1, keepdim=True).clamp(min=1e-300)
    cosines = (unit @ unit.T).fill_diagonal_(-torch.inf)
    labels = one_hot(torch.from_numpy(y)).double()
    return rightness(votes(equally_near(cosines, x.shape[1], k), labels), labels).tolist()


def test_equally_near_samples_share_a_place():
    # Of the first: one neighbour of its class at cosine 1, then three at cosine 0 share a place.
    x = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
    y = np.array([0, 0, 1, 1, 0])
    # k = 1: the first two are right. The last three see two others each at cosine 1: of those in
    # class 1 one neighbour is in each class, so half right; the last sees class 1 only.
    assert right(x, y, 1) == [1.0, 1.0, 0.5, 0.5, 0.0]
    assert knn(x, y, k=1) == pytest.approx(0.6)
    # k = 2: the second place of the first two is 2/3 class 1, 1/3 class 0: class 0 wins.
    assert right(x, y, 2) == [1.0, 1.0, 0.5, 0.5, 0.0]


def test_mean_of_equally_near_samples():
    x = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    y = np.array([1.0, 2.0, 6.0, 3.0, 5.0])
    predicted = np.array([4.0, 3.5, 1.5, 5.0, 3.0])
    expected = 1 - ((predicted - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert knn(x, y, k=1) == pytest.approx(expected)


def test_near_in_another_sum_is_as_near():
    # The same cosine, 3 of 7 ones in common, summed at other places: digits may differ.
    rng = np.random.default_rng(0)
    x = np.array([[1.0] * 7 + [0.0] * 60] + [[0.0] * 67] * 40)
    for row in x[1:]:
        row[rng.permutation(7)[:3]] = row[7 + rng.permutation(60)[:4]] = 1.0
    y = np.array([0] + [0, 1] * 20)
    assert {right(x[:, rng.permutation(67)], y, 1)[0] for _ in range(20)} == {0.5}


def test_own_order():
    x = torch.tensor([[2.0, 1.0], [0.0, 3.0], [-0.0, 2.0], [2.0, 1.0]])
    assert own_order(x, torch.tensor([1, 0, 0, 0])).tolist() == [2, 1, 3, 0]


def test_folds_hold_classes_in_proportion_whatever_their_ids():
    classes = torch.arange(40) % 4
    fold = interleaved(classes, 40, 5, seed=3)
    for held in range(5):
        assert classes[fold == held].bincount().tolist() == [2, 2, 2, 2]
    assert torch.equal(interleaved(torch.tensor([9, 2, 7, 5])[classes], 40, 5, seed=3), fold)
    assert not torch.equal(interleaved(classes, 40, 5, seed=4), fold)


def test_influences_come_back_in_the_order_of_the_samples():
    y = torch.arange(30) % CLASSES
    x = torch.eye(CLASSES)[y] + 0.01 * torch.randn(30, CLASSES)
    y[7] = (y[7] + 1) % CLASSES  # now among samples of another class
    for metric in set(names_of(needs=["samples"])) - {*LEFT_OUT}:
        assert int(SCORES[metric].fit_samples(x, y, "classification").influence().argmin()) == 7, (
            metric
        )
