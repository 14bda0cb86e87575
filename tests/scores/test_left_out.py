"""Influences by leaving groups of samples out."""

import math
from importlib import import_module

import numpy as np
import pytest
import torch

from hubfast.scores.bootstrap import bootstrap
from hubfast.scores.held_out import margins_of, smoothed
from hubfast.scores.left_out import group_influences, groups_of, share_of_right
from hubfast.scores.linear_probe import fit_linear_probe
from hubfast.scores.registry import SCORES
from hubfast.scores.streamed import StreamedScores


def test_groups_are_even_and_the_same_for_every_model():
    groups = groups_of(107)
    assert sorted(groups.bincount().tolist()) == [10] * 3 + [11] * 7
    assert torch.equal(groups, groups_of(107))
    assert groups_of(4).tolist() != sorted(groups_of(4).tolist()) or groups_of(4).max() == 3
    assert len(groups_of(3).unique()) == 3


def test_a_mean_has_its_own_standard_error():
    made = torch.Generator().manual_seed(0)
    values = torch.randn(5000, generator=made, dtype=torch.float64)
    groups = groups_of(5000, 500)
    found = group_influences(float(values.mean()), groups, lambda mask: float(values[mask].mean()))
    assert float(found.mean()) == pytest.approx(float(values.mean()))
    assert float(found.std()) == pytest.approx(float(values.std()), rel=0.1)


def test_by_hand():
    # Three groups of two; without each the score is 1, 2 and 6: their mean is 3.
    groups = torch.tensor([0, 0, 1, 1, 2, 2])
    scores = iter([1.0, 2.0, 6.0])
    found = group_influences(10.0, groups, lambda mask: next(scores))
    widened = 4.302652729911275 / 1.959963984540054  # Student's t of 2 degrees of freedom
    scale = math.sqrt(6 * 2) * widened
    wanted = [10 + scale * moved for moved in (2, 2, 1, 1, -3, -3)]
    assert found.tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("count", [60, 61, 299])
@pytest.mark.parametrize("noise", [1e-4, 0.04, 9.0])
def test_noise_of_the_score_adds_its_variance(count, noise):
    groups, drawn = groups_of(count), np.random.default_rng(count)
    values = torch.from_numpy(drawn.normal(size=count))

    def without(mask):
        return float(values[mask].mean())

    alone = group_influences(0.5, groups, without)
    found = group_influences(0.5, groups, without, noise=noise)
    assert float(found.mean()) == pytest.approx(0.5)
    widened = (2.2621571627409915 / 1.959963984540054) ** 2  # Student's t of 9 degrees of freedom
    added = float((found - alone).var(correction=0)) / count
    assert added == pytest.approx(widened * noise, rel=1 / count)
    # The signs are of the own order: other models, whose orders are others, share none of it.
    other = (found - alone)[torch.from_numpy(drawn.permutation(count))]
    assert abs(float(torch.corrcoef(torch.stack([found - alone, other]))[0, 1])) < 0.4


def test_share_of_right_ones_by_hand():
    """Without each of two groups, the margins of the others turn over by the smoothed step."""
    groups = torch.tensor([0, 1, 0, 1])
    margins = torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    right = (margins > 0).double()
    found = share_of_right(right, margins, groups, lambda mask: margins[mask] - 0.5)
    assert found.score == 0.75
    step = smoothed(margins - 0.5, margins) - smoothed(margins, margins)
    scores = iter([float((right + step)[[1, 3]].mean()), float((right + step)[[0, 2]].mean())])
    # With two more of either kind the share is 5 of 8: (15 / 64 - 3 / 16) / 4 is added.
    wanted = group_influences(0.75, groups, lambda mask: next(scores), noise=0.01171875)
    torch.testing.assert_close(found.influences, wanted)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_a_share_that_all_samples_agree_on_has_a_spread(right):
    """That of two more of either kind: 3.2 to 5 % of 60 samples, widened for ten groups."""
    samples = torch.full((60,), right, dtype=torch.float64)
    margins = torch.where(samples > 0, 5.0, -5.0).double()
    found = share_of_right(samples, margins, groups_of(60), lambda mask: margins[mask])
    low, high, _ = bootstrap([found.score], [found.influences], 60, 0)
    assert found.score == right
    half = 2.262 * math.sqrt(62 / 64 * 2 / 64 / 60)
    assert float(high[0] - low[0]) / 2 == pytest.approx(half, rel=0.1)


def test_one_group_knows_nothing():
    assert group_influences(1.0, torch.zeros(4, dtype=torch.int64), lambda mask: 0.0).isnan().all()


def test_margins():
    scores = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0], [1.0, 1.0, 0.0], [2.0, 0.0, 0.0]])
    assert margins_of(scores, torch.tensor([0, 2, 1, -1])).tolist() == [1.0, -1.0, 0.0, -3.0]
    assert margins_of(torch.tensor([[2.0]]), torch.tensor([0])).tolist() == [1.0]


def test_smoothed_margins():
    margins = torch.tensor([-9.0, 0.0, 9.0], dtype=torch.float64)
    found = smoothed(margins, torch.tensor([-1.0, 1.0], dtype=torch.float64)).tolist()
    assert found == pytest.approx([0.0, 0.5, 1.0], abs=1e-9)
    assert smoothed(margins, torch.zeros(3)).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("metric", ["knn", "n_leep", "pactran", "linear_probe"])
def test_intervals_cover_the_mean_of_the_score(metric):
    """It is the mean over 40 data sets; see benchmarks/coverage.py for more of them."""
    draw = np.random.default_rng(0)
    means, mix = draw.normal(size=(4, 8)), draw.normal(size=(8, 20)) / 3
    scores, lows, highs = [], [], []
    for _ in range(40):
        y = np.arange(120) % 4
        x = np.maximum((means[y] + draw.normal(size=(120, 8))) @ mix, 0)
        fitted = SCORES[metric].fit(torch.from_numpy(x), torch.from_numpy(y))
        low, high, _ = bootstrap([fitted.score], [fitted.influence()], 120, 0)
        scores.append(fitted.score)
        lows.append(low[0])
        highs.append(high[0])
    mean = np.mean(scores)
    assert np.mean((np.array(lows) <= mean) & (mean <= np.array(highs))) >= 0.9


def test_the_interval_of_r2_of_few_samples_holds_what_the_folds_do(monkeypatch):
    """The score moves with the draw of folds, which no sample that is left out shows."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 10))
    y = torch.from_numpy(x[:, 0] + draw.normal(size=60))

    def fitted():
        found = [fit_linear_probe(torch.from_numpy(x), y, seed=seed) for seed in range(8)]
        variances = [float(one.influences.var(correction=0)) / 60 for one in found]
        return [one.score for one in found], variances

    scores, whole = fitted()
    monkeypatch.setattr(import_module("hubfast.scores.linear_probe"), "FEW", 0)
    same, alone = fitted()
    assert scores == same
    widened = (2.2621571627409915 / 1.959963984540054) ** 2  # Student's t of 9 degrees of freedom
    folds = [np.var(scores[at : at + 3], ddof=1) for at in range(6)]
    assert np.mean(folds) > 0
    expected = np.mean(alone[:6]) + widened * np.mean(folds)
    assert np.mean(whole[:6]) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("metric", ["regularized_h_score", "gbc", "transrate", "logme", "cka"])
def test_few_samples_of_wide_features_have_no_narrow_interval(metric):
    """60 samples of 200 features; influences of first order gave 0.5 of the spread there."""
    draw = np.random.default_rng(0)
    means, mix = draw.normal(size=(3, 16)), draw.normal(size=(16, 200)) / 4
    scores, errors = [], []
    for _ in range(50):
        y = np.arange(60) % 3
        seen = 0.7 * means[y] + draw.normal(size=(60, 16)) * 1.1
        x = torch.from_numpy(np.maximum(seen @ mix, 0))
        streamed = StreamedScores([metric], "classification", 60)
        streamed.update(torch.from_numpy(y), x, None)
        found = streamed.score(metric)
        scores.append(found.score)
        errors.append(float(found.influence.std()) / 60**0.5)
    assert 0.8 < np.mean(errors) / np.std(scores) < 2.5
