"""What the evidence's linear model gives for samples left out, against fitting it anew."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from hubfast.scores import LogME
from hubfast.scores.logme.expected import Expected, expected


def anew(fit, features, columns, rows):
    """Predictions of `rows`, each by a model that is fitted to all other samples."""
    out = torch.zeros(len(rows), columns.shape[1], dtype=torch.float64)
    for place, row in enumerate(rows):
        others = torch.arange(len(features)) != row
        x, y = features[others].double(), columns[others]
        for c, t in enumerate(fit.t.tolist()):
            if math.isfinite(t):
                gram = x.T @ x + t * torch.eye(x.shape[1], dtype=torch.float64)
                out[place, c] = features[row].double() @ torch.linalg.solve(gram, x.T @ y[:, c])
    return out


def targets_of(task, count, made):
    if task == "classification":
        return torch.randint(0, 3, (count,), generator=made)
    if task == "multilabel":
        return torch.randint(0, 2, (count, 3), generator=made)
    return torch.randn(count, 2, generator=made, dtype=torch.float64) + 1


def drawn(task, count, width, made):
    """Features, the first of which follows the targets, and targets of two classes at least."""
    targets = targets_of(task, count, made)
    features = torch.randn(count, width, generator=made)
    if task == "classification":
        targets[:2] = torch.tensor([0, 1])
    elif task == "multilabel":
        targets[0] = 1
    features[:, 0] += targets.float() if targets.ndim == 1 else targets[:, 0].float()
    return features, targets


def columns_of(fit, targets):
    if fit.classes is not None:
        return (targets[:, None] == fit.classes).double()
    return targets.double()


@given(
    task=st.sampled_from(["classification", "multilabel", "regression"]),
    count=st.integers(6, 30),
    width=st.integers(1, 40),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_samples_left_out_are_predicted_as_by_a_model_fitted_anew(task, count, width, seed):
    made = torch.Generator().manual_seed(seed)
    features, targets = drawn(task, count, width, made)
    fit = LogME.fit(features, targets, task=task)
    rows = torch.arange(0, count, 2)
    # Where the model goes through all samples, neither way has 8 digits.
    assume(bool((1 - fit._system.leverage(features[rows].double(), fit.t) > 1e-5).all()))
    found, columns = fit.leave_one_out(features[rows], targets[rows])
    assert_close(columns, columns_of(fit, targets)[rows])
    assert_close(found, anew(fit, features, columns_of(fit, targets), rows), rtol=1e-8, atol=1e-8)


@given(
    task=st.sampled_from(["classification", "multilabel", "regression"]),
    sizes=st.lists(st.integers(1, 6), min_size=4, max_size=10),
    width=st.integers(1, 40),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_clusters_left_out_are_predicted_as_by_a_model_fitted_anew(task, sizes, width, seed):
    made, count = torch.Generator().manual_seed(seed), sum(sizes)
    clusters = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    features, targets = drawn(task, count, width, made)
    fit = LogME.fit(features, targets, task=task)
    x, y = features.double(), columns_of(fit, targets)
    wanted, safe = torch.zeros_like(y), True
    for cluster in clusters.unique():
        own = clusters == cluster
        for c, t in enumerate(fit.t.tolist()):
            if math.isfinite(t):
                gram = x[~own].T @ x[~own] + t * torch.eye(width, dtype=torch.float64)
                wanted[own, c] = x[own] @ torch.linalg.solve(gram, x[~own].T @ y[~own, c])
                whole = x.T @ x + t * torch.eye(width, dtype=torch.float64)
                leverage = x[own] @ torch.linalg.solve(whole, x[own].T)
                safe &= bool(torch.linalg.eigvalsh(leverage).max() < 1 - 1e-5)
    assume(safe)  # else neither way has 8 digits
    found, _ = fit.leave_one_out(features, targets, clusters)
    assert_close(found, wanted, rtol=1e-8, atol=1e-8)
    alone, _ = fit.leave_one_out(features, targets)
    assert_close(fit.leave_one_out(features, targets, torch.arange(count))[0], alone)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_copies_of_samples_expect_no_narrower_interval(task):
    """Forty samples, each five times: the interval is that of forty."""
    features, targets = drawn(task, 40, 3, torch.Generator().manual_seed(2))
    clusters = torch.arange(40).repeat_interleave(5)
    fit = LogME.fit(features[clusters], targets[clusters], task=task)
    found = expected(fit, features[clusters], targets[clusters], clusters=clusters)
    one = expected(LogME.fit(features, targets, task=task), features, targets)
    assert (found.samples, found.clusters, one.clusters) == (200, 40, 0)
    assert found.high - found.low == pytest.approx(one.high - one.low, rel=0.25)


def test_the_accuracy_is_the_share_that_is_right():
    made = torch.Generator().manual_seed(1)
    targets = torch.arange(60) % 3
    features = torch.randn(60, 8, generator=made)
    features[:, :3] += 1.5 * torch.eye(3)[targets]
    fit = LogME.fit(features, targets)
    right = anew(fit, features, columns_of(fit, targets), range(60)).argmax(1) == targets
    found = expected(fit, features, targets)
    assert found.value == pytest.approx(float(right.double().mean()))
    assert 0.5 < found.value < 1
    assert (found.majority, found.chance, found.samples) == (pytest.approx(1 / 3), 1 / 3, 60)
    # Wilson's interval of 60 samples, by hand.
    p, z = found.value, 1.959963984540054
    middle = (p + z * z / 120) / (1 + z * z / 60)
    half = z / (1 + z * z / 60) * math.sqrt(p * (1 - p) / 60 + z * z / (4 * 60**2))
    assert (found.low, found.high) == (pytest.approx(middle - half), pytest.approx(middle + half))


def test_features_that_say_nothing_give_the_most_frequent_class():
    targets = torch.tensor([0, 1, 1, 1, 1, 0, 1, 1, 1, 1] * 3)
    fit = LogME.fit(torch.zeros(30, 4), targets)
    found = expected(fit, torch.zeros(30, 4), targets)
    assert found.value == found.majority == pytest.approx(0.8)


def test_shares_of_all_samples_are_taken_where_they_are_given():
    targets = torch.tensor([0, 1] * 10)
    fit = LogME.fit(torch.zeros(20, 2), targets)
    found = expected(fit, torch.zeros(20, 2), targets, torch.tensor([0.9, 0.1]))
    assert (found.value, found.majority) == (0.5, pytest.approx(0.9))


def test_labels_are_counted_one_by_one():
    made = torch.Generator().manual_seed(2)
    targets = torch.randint(0, 2, (50, 4), generator=made)
    targets[0] = 1
    features = torch.randn(50, 6, generator=made)
    features[:, 0] += 3 * targets[:, 0]
    fit = LogME.fit(features, targets, task="multilabel")
    right = (anew(fit, features, targets.double(), range(50)) > 0.5) == targets.bool()
    found = expected(fit, features, targets)
    assert found.value == pytest.approx(float(right.double().mean()))
    assert found.low < found.value < found.high
    shares = targets.double().mean(0)
    assert found.majority == pytest.approx(float(torch.maximum(shares, 1 - shares).mean()))


def test_regression_gives_the_share_of_variance_that_is_explained():
    made = torch.Generator().manual_seed(3)
    features = torch.randn(80, 5, generator=made, dtype=torch.float64)
    targets = features @ torch.randn(5, generator=made, dtype=torch.float64)
    targets += 0.5 * torch.randn(80, generator=made, dtype=torch.float64)
    fit = LogME.fit(features, targets)
    missed = targets - anew(fit, features, targets[:, None], range(80))[:, 0]
    others = torch.stack([targets[torch.arange(80) != i].mean() for i in range(80)])
    exact = 1 - float(missed.square().sum() / (targets - others).square().sum())
    found = expected(fit, features, targets)
    assert found.value == pytest.approx(exact, abs=1e-10)
    assert found.low < found.value < found.high <= 1
    assert (found.majority, found.chance) == (0, 0)


def test_a_regression_target_that_does_not_vary_has_no_r2():
    fit = LogME.fit(torch.randn(9, 2).double(), torch.ones(9).double())
    assert math.isnan(expected(fit, torch.randn(9, 2).double(), torch.ones(9).double()).value)


def test_the_interval_covers_the_accuracy_on_new_samples():
    made = torch.Generator().manual_seed(4)
    means, covered = torch.randn(4, 10, generator=made), 0
    draw = lambda y: means[y] + 1.5 * torch.randn(len(y), 10, generator=made)  # noqa: E731
    for _ in range(60):
        y, new = (torch.randint(0, 4, (n,), generator=made) for n in (300, 4000))
        x = draw(y)
        fit = LogME.fit(x, y)
        found: Expected = expected(fit, x, y)
        truth = float((fit.predict(draw(new)) == new).double().mean())
        covered += found.low <= truth <= found.high
    assert covered >= 54  # of 60; fewer than that has a chance below 1 % at 95 %
