"""Scores against fine-tuned quality: measures by hand, records, the table, the command."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import weightedtau

from hubfast.bench.ranking import Records, evaluate, measure, minihub_records, read_records, table
from hubfast.bench.ranking.cost import score_costs
from hubfast.bench.ranking.measures import regret
from hubfast.profiling.memory import peak_memory
from hubfast.ranking import MetricScore, RankedModel, Ranking


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(table, "RESAMPLES", 40)


def records(models=8, sets=3, noise=0.3, seed=0):
    """A good score, a random one, and the truth; the models' sizes say nothing."""
    rng = np.random.default_rng(seed)
    rows = []
    for data in range(sets):
        truth = rng.permutation(models) / models
        for i, value in enumerate(truth):
            good, bad = value + noise * rng.normal() / models, rng.normal()
            rows.append([f"set{data}", f"net{i}", value, good, bad, float(i)])
    columns = ["data", "model", "truth", "good", "bad", "parameters"]
    return Records(pd.DataFrame(rows, columns=columns), ("good", "bad", "parameters"))


def test_measures_by_hand():
    truth = np.array([0.9, 0.8, 0.5, 0.1])
    scores = np.array([3.0, 4.0, 1.0, 2.0])  # the order of the truth: second, first, fourth, third
    found = measure(scores, truth)
    # Ranks 0..3 weigh 1, 1/2, 1/3, 1/4; pairs (0, 1) and (2, 3) are swapped.
    weights = {p: 1 / (p[0] + 1) + 1 / (p[1] + 1) for p in itertools.combinations(range(4), 2)}
    signs = {p: -1 if p in ((0, 1), (2, 3)) else 1 for p in weights}
    by_truth = sum(weights[p] * signs[p] for p in weights) / sum(weights.values())
    assert found.tau_by_truth == pytest.approx(by_truth)
    assert found.tau == pytest.approx(by_truth)  # by symmetry of these swaps
    assert found.pearson == pytest.approx(np.corrcoef(scores, truth)[0, 1])
    assert found[3:] == pytest.approx((0.1, 0.0, 0.0))


def test_the_two_conventions_of_tau():
    truth = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    scores = np.array([1.0, 5.0, 4.0, 3.0, 2.0])  # the best model is scored last
    found = measure(scores, truth)
    assert found.tau == pytest.approx(weightedtau(scores, truth).statistic)
    assert found.tau_by_truth == pytest.approx(weightedtau(truth, scores, rank=None).statistic)
    assert found.tau_by_truth < found.tau


def test_measures_of_little():
    flat = measure(np.array([1.0, 1.0, 1.0]), np.array([0.3, 0.6, 0.9]))
    assert all(math.isnan(value) for value in flat[:3])
    assert flat.regret_1 == pytest.approx(0.3)  # any of the three is drawn
    assert math.isnan(measure(np.array([1.0, 2.0]), np.array([1.0, 2.0])).tau)
    with pytest.raises(
        ValueError, match=r"scores and truth must be \(models,\), got \(1,\), \(2,\)"
    ):
        measure(np.zeros(1), np.zeros(2))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_regret_is_the_mean_over_orders_of_ties(pairs, data):
    scores, truth = np.array(pairs, dtype=float).T
    k = data.draw(st.integers(1, 6))
    lost = []
    for order in itertools.permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
            lost.append(truth.max() - truth[list(order[:k])].max())
    assert regret(scores, truth, k) == pytest.approx(np.mean(lost))


def test_evaluate_tells_good_from_bad():
    found = evaluate(records(), progress=False)
    assert found.prior == "parameters"
    assert found.models == 8
    tau = found.frame[found.frame["measure"] == "tau"].set_index("score")
    assert tau.index[0] == "good"
    assert tau.loc["good", "low"] <= tau.loc["good", "value"] <= tau.loc["good", "high"] + 1e-9
    assert tau.loc["good", "gain_low"] > 0
    assert tau.loc["parameters", ["gain", "gain_low", "gain_high"]].tolist() == [0, 0, 0]
    assert not tau.loc["bad", "gain_low"] > 0
    means = found.by_data.groupby(["score", "measure"])["value"].mean()
    assert tau.loc["bad", "value"] == pytest.approx(means["bad", "tau"])
    regrets = found.frame[found.frame["measure"] == "regret_1"].set_index("score")
    better = regrets.loc["parameters", "value"] - regrets.loc["good", "value"]
    assert regrets.loc["good", "gain"] == pytest.approx(better)
    assert "by truth" in str(found)


def test_gains_over_every_prior_are_those_over_each():
    made = records()
    made.frame["imagenet"] = np.random.default_rng(1).random(len(made.frame))
    made = Records(made.frame, (*made.scores, "imagenet"))
    found = evaluate(made, progress=False)
    assert set(found.gains["prior"]) == {"parameters", "imagenet", "other data sets"}
    for prior, rows in found.gains.groupby("prior"):
        alone = evaluate(made, str(prior), progress=False).frame
        pd.testing.assert_frame_equal(
            rows.drop(columns="prior").reset_index(drop=True), alone, check_exact=True
        )
    assert "gains in tau and in regret @1" in str(found)


def test_prior_from_other_data_sets():
    frame = pd.DataFrame(
        {
            "data": ["a", "a", "a", "b", "b", "c", "c"],
            "model": ["x", "y", "z", "x", "y", "y", "z"],
            "truth": [0.1, 0.2, 0.3, 0.9, 0.8, 0.5, 0.4],
        }
    )
    prior = Records(frame, ()).with_prior().frame.set_index(["data", "model"])["other data sets"]
    # Shares of models beaten: a: 0, 1/2, 1; b: 1, 0; c: 1, 0.
    assert prior["a", "x"] == 1.0
    assert prior["a", "y"] == 0.5
    assert prior["b", "x"] == 0.0
    assert prior["b", "y"] == 0.75
    assert prior["c", "z"] == 1.0


def test_scores_that_some_data_sets_lack():
    whole = records()
    whole.frame.loc[whole.frame["data"] == "set1", "bad"] = np.nan
    whole.frame.loc[whole.frame["model"] == "net3", "good"] = np.nan
    found = evaluate(whole, progress=False)
    counts = found.frame.drop_duplicates("score").set_index("score")["data_sets"]
    assert counts.to_dict() == {"good": 3, "bad": 2, "parameters": 3, "other data sets": 3}
    assert "-" in str(found)


def test_prior_is_checked():
    with pytest.raises(ValueError, match=r"prior must be one of .*, got 'x'"):
        evaluate(records(), "x", progress=False)
    assert evaluate(records(), "bad", progress=False).prior == "bad"


def test_records_of_ones_own(tmp_path):
    made = records()
    path = tmp_path / "truth.csv"
    made.frame.rename(columns={"truth": "Accuracy", "data": "dataset"}).to_csv(path, index=False)
    read = read_records(path)
    assert set(read.scores) == {"good", "bad", "parameters"}
    pd.testing.assert_frame_equal(
        evaluate(read, progress=False).frame, evaluate(made, progress=False).frame
    )


def test_runs_of_one_model_are_averaged_and_rankings_give_scores(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("model,data,seed,accuracy\nx,d,0,0.4\nx,d,1,0.6\ny,d,0,0.9\nz,d,0,0.1\n")
    rows = [
        RankedModel(name, score=share, scores={"logme": MetricScore(value), "knn": MetricScore()})
        for name, share, value in (("y", 1.0, 3.0), ("x", 0.5, 2.0), ("z", 0.0, 1.0))
    ]
    ranking = Ranking(tuple(rows), "consensus", "d", "classification", 9, metrics=("logme", "knn"))
    read = read_records(path, [ranking])
    assert read.frame.set_index("model")["truth"].to_dict() == {"x": 0.5, "y": 0.9, "z": 0.1}
    study = evaluate(read, "consensus", progress=False)
    assert study.gains.empty
    assert "static prior" not in str(study)
    found = study.frame.set_index(["score", "measure"])
    assert found.loc[("logme", "tau"), "value"] == pytest.approx(1.0)
    assert "knn" not in found.index.get_level_values(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model,accuracy\nx,1\n", "must have a column for the data, one of"),
        ("model,data,accuracy\nx,d,high\n", "must be numbers"),
        ("model,data,accuracy\nx,d,1\n", r"no scores for the data sets \['d'\]"),
    ],
)
def test_bad_records_are_named(tmp_path, content, message):
    (tmp_path / "r.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_records(tmp_path / "r.csv")


def test_peak_memory_sees_what_is_allocated():
    import sys

    found = peak_memory(lambda: np.ones(2**24).sum())  # 128 MiB
    if sys.platform == "linux":
        assert 120 < found < 200
    else:
        assert found is None


def test_costs_of_scores():
    found = score_costs(["logme", "leep", "knn"], samples=60, width=8, classes=3)
    assert [cost.metric for cost in found] == ["logme", "leep", "knn"]
    assert all(cost.seconds > 0 for cost in found)


def test_json(tmp_path):
    evaluate(records(), progress=False).to_json(tmp_path / "e.json")
    content = json.loads((tmp_path / "e.json").read_text())
    assert content["format"] == "hubfast.Evaluation/1"
    assert {row["score"] for row in content["scores"]} >= {"good", "bad"}


def test_mini_hub(monkeypatch):
    """All metrics of a few models, the truth given."""
    from hubfast.bench.ranking import minihub
    from hubfast.minihub import Truth

    names = ["resnet_digits", "slim_letters", "resnet_noise"]
    hub = {
        "handwritten": lambda n: {"resnet_digits": 0.9, "slim_letters": 0.6, "resnet_noise": 0.1}[
            n
        ],
        "angle": lambda n: 0.5 - names.index(n) / 10,
    }

    def truth(targets, *, full, seeds, progress):
        return [
            Truth(n, t, s, "accuracy", hub[t](n) + s / 100, 0.1, 1.0)
            for t in hub
            for n in names
            for s in range(seeds)
        ]

    def rank(specs, data, *, metrics, progress):
        rows = [
            RankedModel(n, score=1.0, scores={m: MetricScore(-float(i)) for m in metrics})
            for i, n in enumerate(names)
        ]
        assert specs == [f"minihub:{n}" for n in names]
        return Ranking(tuple(rows), "consensus", data, "classification", 9, metrics=tuple(metrics))

    monkeypatch.setattr(minihub, "truth", truth)
    monkeypatch.setattr(minihub, "rank", rank)
    monkeypatch.setattr(minihub, "model_names", lambda full: names)
    found = minihub_records(seeds=2, progress=False)
    assert found.frame.query("data == 'angle'")["leep"].isna().all()
    first = found.frame.query("data == 'handwritten' and model == 'resnet_digits'")
    assert first["truth"].item() == pytest.approx(0.905)
    evaluation = evaluate(found, progress=False).frame.set_index(["score", "measure"])
    assert evaluation.loc[("logme", "tau"), "data_sets"] == 2
    assert evaluation.loc[("leep", "tau"), "data_sets"] == 1
