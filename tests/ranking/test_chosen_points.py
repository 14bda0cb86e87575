"""The choice of a point does not flatter: shown on noise, and on scores that are means."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.ranking.points import PointResult, choose
from hubfast.scores.logme.logme import LogME
from hubfast.scores.streamed import Scored


def results(values, count=None):
    """A point for each row of samples `(P, r)`, whose score is the mean of its row."""
    return [
        PointResult(
            f"{i}/mean",
            8,
            {
                "logme": Scored(
                    float(row.mean()), torch.from_numpy(row - row.mean()), count or len(row)
                )
            },
        )
        for i, row in enumerate(values)
    ]


def drawn(theta, samples, common, rng):
    """Samples `(P, n)` with these means, that share a part of their spread."""
    shared = np.sqrt(common) * rng.normal(size=samples)
    own = np.sqrt(1 - common) * rng.normal(size=(len(theta), samples))
    return np.asarray(theta)[:, None] + shared + own


@pytest.mark.parametrize("points", [2, 12])
@pytest.mark.parametrize("common", [0.0, 0.8])
def test_equal_points_get_no_bonus(points, common):
    """The greatest of equal scores is too great by far; the row's score is not."""
    rng = np.random.default_rng(0)
    rows, best = [], []
    for _ in range(200):
        values = drawn([0.0] * points, 256, common, rng)
        usual = values.mean()  # of all points, which shows what they share
        rows.append(choose(results(values), ["logme"], 0).scores["logme"].score - usual)
        best.append(values.mean(1).max() - usual)
    assert abs(np.mean(rows)) < 3.5 * np.std(rows) / np.sqrt(len(rows))
    assert np.mean(best) > 8 * np.std(best) / np.sqrt(len(best))


def test_influences_of_some_samples_do_for_scores_of_all():
    """Halves are those of all n samples, though influences are known of r."""
    rng = np.random.default_rng(1)
    rows, best = [], []
    for _ in range(200):
        values = drawn([0.0] * 8, 2048, 0.3, rng)
        some = results(values[:, :256], 2048)
        scored = [
            PointResult(
                p.name,
                p.width,
                {"logme": Scored(float(v.mean()), p.scores["logme"].influence, 2048)},
            )
            for p, v in zip(some, values, strict=True)
        ]
        rows.append(choose(scored, ["logme"], 0).scores["logme"].score)
        best.append(values.mean(1).max())
    assert abs(np.mean(rows)) < 3.5 * np.std(rows) / np.sqrt(len(rows))
    assert np.mean(best) > 8 * np.std(best) / np.sqrt(len(best))


@pytest.mark.parametrize("gap", [0.0, 1.0, 3.0])
def test_the_interval_holds_the_value_of_what_is_chosen(gap):
    """The value of a choice is the mean of true scores, as often as each point is chosen."""
    rng, samples = np.random.default_rng(2), 256
    theta = np.array([gap / np.sqrt(samples), *[0.0] * 7])
    held = []
    for _ in range(300):
        found = choose(results(drawn(theta, samples, 0.5, rng)), ["logme"], 0)
        scored = found.scores["logme"]
        error = float(scored.influence.std()) / np.sqrt(samples)
        held.append(abs(scored.score - found.shares @ theta) < 1.96 * error)
    assert np.mean(held) > 0.92


def test_logme_of_layers_of_equal_quality():
    """Features show the classes equally well, each with noise of its own."""
    rng = np.random.default_rng(3)
    rows, best, each = [], [], []
    for _ in range(60):
        targets = rng.integers(0, 3, 150)
        points = []
        for i in range(6):
            features = 0.5 * np.eye(3)[targets] @ np.eye(3, 4) + rng.normal(size=(150, 4))
            x, y = torch.from_numpy(features).float(), torch.from_numpy(targets)
            fit = LogME.fit(x, y)
            points.append(
                PointResult(str(i), 4, {"logme": Scored(fit.score, fit.influence(x, y), 150)})
            )
        scores = [p.scores["logme"].score for p in points]
        each += scores
        best.append(max(scores))
        rows.append(choose(points, ["logme"], 0).scores["logme"].score)
    error = np.std(rows) / np.sqrt(len(rows))
    assert np.mean(best) - np.mean(each) > 3 * error
    assert np.mean(rows) - np.mean(each) < 2.5 * error


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([16, 33, 100]))
def test_a_choice_is_one_of_its_points(seed, points, samples):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(points, samples)) + rng.normal(size=(points, 1))
    made = results(values)
    found = choose(made, ["logme"], seed)
    assert found.shares.sum() == pytest.approx(1.0)
    assert found.best == found.shares.argmax()
    scored = found.scores["logme"]
    assert scored.score <= values.mean(1).max() + 1e-9
    assert torch.equal(scored.influence, made[found.best].scores["logme"].influence)
    if points == 1:
        assert scored is made[0].scores["logme"]
    order = rng.permutation(points)
    other = choose([made[i] for i in order], ["logme"], seed)
    assert other.scores["logme"].score == pytest.approx(scored.score)


def test_a_point_that_is_far_ahead_keeps_its_score():
    values = drawn([0.0, 5.0, 1.0], 200, 0.2, np.random.default_rng(0))
    found = choose(results(values), ["logme"], 0)
    assert found.best == 1
    assert found.shares.tolist() == [0.0, 1.0, 0.0]
    assert found.scores["logme"].score == pytest.approx(values[1].mean(), abs=1e-12)


def test_points_without_a_score_are_chosen_only_if_there_is_no_other():
    values = drawn([0.0, 5.0, 9.0, 7.0], 100, 0.2, np.random.default_rng(0))
    made = results(values)
    made[1] = PointResult("1/mean", 8, {}, {"logme": "ValueError: no"})
    made[2] = PointResult("2/mean", 8, {"logme": Scored(float("nan"), torch.zeros(100), 100)})
    odd = made[3].scores["logme"]
    made[3] = PointResult("3/mean", 8, {"logme": Scored(odd.score, odd.influence * np.nan, 100)})
    found = choose(made, ["logme"], 0)
    assert (found.best, found.shares.tolist()) == (0, [1.0, 0.0, 0.0, 0.0])
    assert found.scores["logme"] is made[0].scores["logme"]
    assert choose(made[1:2], ["logme"], 0).scores == {}
    assert choose(made[2:], ["logme"], 0).best == 0


def test_several_metrics_choose_one_point_together():
    rng = np.random.default_rng(0)
    both = [results(drawn(theta, 300, 0.2, rng)) for theta in ([0.0, 3.0, 2.0], [0.0, 1.0, 2.0])]
    made = [
        PointResult(a.name, 8, {"logme": a.scores["logme"], "knn": b.scores["logme"]})
        for a, b in zip(*both, strict=True)
    ]
    found = choose(made, ["logme", "knn"], 0)
    assert found.best in (1, 2)
    assert found.scores.keys() == {"logme", "knn"}
    alone = choose(made, ["knn"], 0)
    assert alone.best == 2
