"""Scores that do not depend on the scale of features: the same from 1e-150 to 1e150."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.scores import FeatureStatistics
from hubfast.scores.logme.logme import LogME
from hubfast.scores.registry import SCORES
from hubfast.scores.scale import exponent_of, of_ordinary_size, times_power_of_two
from hubfast.scores.streamed import StreamedScores

FREE = (
    *("logme", "h_score", "regularized_h_score", "cka"),
    *("n_leep", "transrate", "gbc", "parc", "knn", "linear_probe"),
)
BOUND = ("sfda", "pactran")  # their regularisers have a size of their own


def problem(width, seed=0, count=60):
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    features = rng.normal(size=(count, width)) + 2 * np.eye(3, width)[targets] + 0.3
    return torch.from_numpy(features), torch.from_numpy(targets)


def scored(metric, features, targets, parts=1):
    task = "regression" if targets.is_floating_point() else "classification"
    scores = StreamedScores([metric], task, len(targets))
    for x, y in zip(features.chunk(parts), targets.chunk(parts), strict=True):
        scores.update(y, x, None)
    return scores.score(metric)


def test_every_score_of_features_is_here():
    assert {*FREE, *BOUND} == {m for m, s in SCORES.items() if s.needs in ("statistics", "samples")}


@pytest.mark.parametrize("metric", FREE)
@pytest.mark.parametrize("width", [6, 80])
@given(exponent=st.floats(-150, 150))
@settings(deadline=None, max_examples=8)
@pytest.mark.filterwarnings("ignore:.*says nothing", "ignore:the sums over these")
def test_a_score_does_not_depend_on_the_scale(metric, width, exponent):
    features, targets = problem(width)
    plain, other = (scored(metric, f, targets) for f in (features, 10**exponent * features))
    assert other.score == pytest.approx(plain.score, rel=1e-6, abs=1e-9)
    torch.testing.assert_close(other.influence, plain.influence, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", FREE)
@pytest.mark.parametrize("power", [-1000, -600, -300, 300, 600, 1000])
@pytest.mark.filterwarnings("ignore:.*says nothing", "ignore:the sums over these")
def test_powers_of_two_change_no_bit_beyond_the_ordinary(metric, power):
    features, targets = problem(6)
    base = times_power_of_two(features, 250 if power > 0 else -250)
    far = times_power_of_two(features, power)
    assert scored(metric, base, targets).score == scored(metric, far, targets).score


@pytest.mark.parametrize("metric", ["logme", "cka"])
@pytest.mark.parametrize("factor", [1e-200, 1e-100, 1e100, 1e300])
@pytest.mark.filterwarnings("ignore:the sums over these")
def test_regression_and_blocks(metric, factor):
    features, targets = problem(6)
    values = targets.double()[:, None] + features[:, :1]
    whole = scored(metric, features, values).score
    assert scored(metric, factor * features, values, parts=4).score == pytest.approx(
        whole, rel=1e-6
    )


@pytest.mark.parametrize("metric", BOUND)
def test_scores_with_a_scale_of_their_own_refuse_what_overflows(metric):
    features, targets = problem(6)
    with pytest.raises(ValueError, match=r"features for .* must be below 1e150"):
        scored(metric, 1e200 * features, targets)


def test_float32_to_its_ends():
    features, targets = problem(6)
    largest = features.float() / features.abs().max() * torch.finfo(torch.float32).max
    for metric in ("logme", "regularized_h_score", "cka"):
        plain = scored(metric, features.float(), targets).score
        assert scored(metric, largest.float(), targets).score == pytest.approx(plain, rel=1e-4)


def sums(*blocks):
    found = FeatureStatistics()
    for features, targets in blocks:
        found.update(features, targets)
    return found


@pytest.mark.parametrize("order", [(1.0, 1e200), (1e200, 1.0), (1e-200, 1.0), (1.0, 1e-200)])
@pytest.mark.parametrize("width", [6, 80])
def test_sums_of_blocks_of_other_sizes(order, width):
    features, targets = problem(width)
    first, second = ((f * x, y) for f, (x, y) in zip(order, 2 * [(features, targets)], strict=True))
    together, merged = sums(first, second), sums(first) + sums(second)
    assert together.exponent == merged.exponent == exponent_of(together.largest)
    large = sums(first) if order[0] > order[1] else sums(second)
    for found in (together, merged):
        assert found.count == 2 * len(features)
        torch.testing.assert_close(found.feature_sum, large.feature_sum, rtol=1e-12, atol=0)
        torch.testing.assert_close(found.gram.triu(), large.gram.triu(), rtol=1e-12, atol=0)


def test_the_scale_is_kept_in_files(tmp_path):
    features, targets = problem(6)
    found = sums((1e200 * features, targets))
    found.save(tmp_path / "s.safetensors")
    again = FeatureStatistics.load(tmp_path / "s.safetensors")
    assert (again.exponent, again.largest) == (found.exponent, found.largest)
    assert LogME.from_statistics(again).score == LogME.from_statistics(found).score


def test_labels_are_replaced_in_the_scale_of_the_sums():
    features, targets = problem(6)
    other = (targets + 1) % 3
    found = sums((1e200 * features, targets)).relabel(1e200 * features, targets, other)
    torch.testing.assert_close(found.cross, sums((1e200 * features, other)).cross)


@pytest.mark.parametrize("factor", [1e-200, 1e-90, 1e90, 1e200])
@pytest.mark.filterwarnings("ignore:the sums over these")
def test_predictions_and_means_are_of_the_features_as_they_came(factor):
    features, targets = problem(6)
    plain, other = LogME.fit(features, targets), LogME.fit(factor * features, targets)
    torch.testing.assert_close(other.means * factor, plain.means, rtol=1e-6, atol=1e-9)
    assert bool((other.predict(factor * features) == plain.predict(features)).all())
    found = other.decision_function(factor * features)
    torch.testing.assert_close(found, plain.decision_function(features), rtol=1e-6, atol=1e-9)


def test_ordinary_features_are_left_alone():
    features, _ = problem(6)
    for factor in (1.0, 1e-50, 1e50):
        assert of_ordinary_size(factor * features).equal(factor * features)
    assert exponent_of(0.0) == exponent_of(1.0) == 0
    for largest in (5e-324, 1e-100, 1e100, 1.7e308):
        scaled = times_power_of_two(
            torch.tensor(largest, dtype=torch.float64), -exponent_of(largest)
        )
        assert 0.5 <= float(scaled) < 1
        assert math.frexp(float(scaled))[0] == math.frexp(largest)[0]
