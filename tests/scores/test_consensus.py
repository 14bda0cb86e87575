"""Several scores from one pass, and their consensus."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from hubfast import Ranking, as_source, rank
from hubfast.ranking.consensus import borda
from hubfast.scores import gbc, static_prior
from hubfast.scores.streamed import KEPT_SAMPLES

COUNT = 90
FEATURES_ONLY = ["logme", "regularized_h_score", "gbc", "knn", "transrate", "sfda"]
ALL = [*FEATURES_ONLY, "h_score", "n_leep", "parc", "pactran", "linear_probe", "leep", "nce"]


class Counting(torch.nn.Module):
    """A model whose features are a table, and whose classifier is linear; counts its calls."""

    def __init__(self, table):
        super().__init__()
        self.table, self.calls = table, 0
        self.head = torch.nn.Linear(table.shape[1], 5).double()

    def forward(self, rows):
        self.calls += 1
        return self.head(self.table[rows[:, 0].long()])


def problem(count=COUNT, width=6):
    rng = np.random.default_rng(0)
    targets = np.arange(count) % 3
    signal = rng.normal(size=(3, width))[targets]
    return {
        name: torch.from_numpy(strength * signal + rng.normal(size=(count, width)))
        for name, strength in {"good": 2.0, "fair": 0.7, "poor": 0.1}.items()
    }, targets


def data_of(targets):
    return torch.arange(len(targets))[:, None].float(), targets


def test_borda_by_hand():
    scores = np.array([[3.0, 2.0, 1.0], [5.0, 9.0, 5.0]])
    # First metric: 1, 1/2, 0; second: 1/4 (tied over two places), 1, 1/4.
    assert borda(scores).tolist() == [0.625, 0.75, 0.125]
    missing = np.array([[3.0, np.nan, 1.0], [1.0, 2.0, np.nan], [np.nan] * 3])
    assert borda(missing).tolist() == [0.5, 1.0, 0.0]
    assert np.isnan(borda(np.array([[1.0, np.nan]]))[1])
    assert borda(np.array([[7.0]])).tolist() == [1.0]


def test_borda_of_many_resamples_at_once():
    scores = np.random.default_rng(0).normal(size=(4, 5, 20))
    scores[1, 2] = np.nan
    together = borda(scores)
    for r in range(20):
        np.testing.assert_allclose(together[:, r], borda(scores[:, :, r]))


def test_all_scores_from_one_pass_equal_each_alone():
    features, targets = problem()
    torch.manual_seed(0)
    hub = {name: Counting(table) for name, table in features.items()}
    found = rank(hub, data_of(targets), metrics=[*ALL, "parameters"], progress=False, batch_size=40)
    assert [model.calls for model in hub.values()] == [3, 3, 3]
    assert found.metric == "consensus"
    assert found.top(3) == ["good", "fair", "poor"]
    assert found[0].low <= found[0].score <= found[0].high <= 1
    for metric in ALL:
        alone = rank(hub, data_of(targets), metric=metric, progress=False, batch_size=40)
        expected = {m.name: (m.score, m.low, m.high, m.tied) for m in alone}
        for m in found:
            s = m.scores[metric]
            assert (s.score, s.low, s.high, s.tied) == expected[m.name]
            assert s.seconds > 0
        by = found.by(metric)
        assert [(m.name, m.score) for m in by] == [(m.name, m.score) for m in alone]
        assert by.metric == metric
    assert found[0].scores["parameters"].score == static_prior(found[0].parameters)


def test_a_metric_that_a_model_lacks_is_missing_in_its_row():
    features, targets = problem()
    hub = {
        "whole": Counting(features["fair"]),
        "headless": as_source(lambda rows: features["good"][rows[:, 0].long()]),
        "broken": as_source(lambda rows: 1 / 0),
    }
    hub["whole"] = replace(as_source(hub["whole"], name="whole"), imagenet=70.0)
    metrics = ["logme", "leep", "parameters", "imagenet"]
    found = rank(hub, data_of(targets), metrics=metrics, progress=False)
    rows = {m.name: m for m in found}
    assert rows["broken"].error.startswith("ZeroDivisionError")
    assert rows["whole"].scores["leep"].score < 0
    assert rows["headless"].scores["leep"].score is None
    assert "needs the source classifier's logits" in rows["headless"].scores["leep"].error
    assert "number of parameters" in rows["headless"].scores["parameters"].error
    assert rows["whole"].scores["imagenet"].score == 70.0
    assert "accuracy, which is not known" in rows["headless"].scores["imagenet"].error
    assert rows["headless"].score == 1.0  # first by the one metric that it has
    assert [m.name for m in found.by("leep").failed] == ["headless", "broken"]
    assert "headless" in str(found)


def test_a_model_without_any_of_the_scores_fails():
    features, targets = problem(300, 4)
    calls = []

    def headless(rows):
        calls.append(len(rows))
        return features["good"][rows[:, 0].long()]

    found = rank(
        [headless], data_of(targets), metrics=["leep", "nce"], batch_size=10, progress=False
    )
    assert "needs the source classifier's logits" in found[0].error
    assert sum(calls) == 128  # it is not run to the end for nothing


def test_models_that_metrics_disagree_on_are_not_told_apart():
    features, targets = problem()
    twins = {"a": features["fair"], "b": features["fair"] + 1e-9, "poor": features["poor"]}
    hub = {n: as_source(lambda r, f=f: f[r[:, 0].long()]) for n, f in twins.items()}
    found = rank(hub, data_of(targets), metrics=FEATURES_ONLY, progress=False)
    assert {m.name: m.tied for m in found} == {"a": True, "b": True, "poor": False}


def test_scores_that_need_samples_keep_a_bounded_part():
    features, targets = problem(3 * KEPT_SAMPLES, 4)
    hub = {n: as_source(lambda r, f=f: f[r[:, 0].long()]) for n, f in features.items()}
    found = rank(hub, data_of(targets), metrics=["logme", "gbc"], progress=False, batch_size=500)
    for m in found:
        whole = gbc(features[m.name], targets)
        assert m.scores["gbc"].score != whole
        assert m.scores["gbc"].score == pytest.approx(whole, abs=0.2)
        assert m.scores["gbc"].low < whole < m.scores["gbc"].high
    again = rank(hub, data_of(targets), metrics=["gbc", "logme"], progress=False, batch_size=999)
    assert {m.name: m.score for m in again} == {m.name: m.score for m in found}


def test_regression_has_its_scores():
    features, targets = problem()
    hub = {n: as_source(lambda r, f=f: f[r[:, 0].long()]) for n, f in features.items()}
    metrics = ["logme", "knn", "linear_probe"]
    for values in (targets + 0.5, np.eye(3, dtype=int)[targets]):
        found = rank(hub, data_of(values), metrics=metrics, progress=False)
        assert found.top(1) == ["good"]
    with pytest.raises(ValueError, match=r"metric 'gbc' is for classification"):
        rank(hub, data_of(targets + 0.5), metrics=["logme", "gbc"])


def test_bad_metrics_stop_before_any_model_runs():
    def never(rows):
        raise AssertionError

    data = data_of(problem()[1])
    with pytest.raises(ValueError, match=r"metrics must be at least one, each once, got \[\]"):
        rank([never], data, metrics=[])
    with pytest.raises(ValueError, match=r"each once, got \['logme', 'logme'\]"):
        rank([never], data, metrics=["logme", "logme"])
    with pytest.raises(ValueError, match=r"metric must be one of .* got 'magic'"):
        rank([never], data, metrics=["logme", "magic"])


def test_frame_csv_and_json(tmp_path):
    features, targets = problem()
    hub = {n: as_source(lambda r, f=f: f[r[:, 0].long()]) for n, f in features.items()}
    found = rank(hub, data_of(targets), metrics=["logme", "knn"], progress=False)
    found.to_json(tmp_path / "r.json")
    assert Ranking.from_json(tmp_path / "r.json") == found
    assert json.loads((tmp_path / "r.json").read_text())["metrics"] == ["logme", "knn"]
    found.to_csv(tmp_path / "r.csv")
    frame = pd.read_csv(tmp_path / "r.csv")
    assert frame["knn"].tolist() == [m.scores["knn"].score for m in found]
    assert frame["logme_low"].tolist() == [m.scores["logme"].low for m in found]
    assert frame["consensus"].tolist() == [m.score for m in found]
    header = next(line for line in str(found).splitlines() if "consensus" in line and "knn" in line)
    assert re.search(r"consensus +95 % +logme +knn", header)
    with pytest.raises(ValueError, match=r"metric must be one of \['logme', 'knn'\], got 'gbc'"):
        found.by("gbc")


def test_what_was_ranked_is_kept_as_it_was_written(tmp_path):
    features, targets = problem()
    np.save(tmp_path / "a.npy", features["good"].numpy())
    np.save(tmp_path / "y.npy", targets)
    written = ["timm:no_such_model", tmp_path / "a.npy", "minihub:no_such_model"]
    found = rank(written, str(tmp_path / "y.npy"), progress=False)
    specs = {m.name: m.spec for m in found}
    assert specs == {
        "timm:no_such_model": "timm:no_such_model",
        "a": None,  # stored features are no model to tune
        "no_such_model": "minihub:no_such_model",
    }
    assert found.location == str(tmp_path / "y.npy")
    objects = rank({"x": tmp_path / "a.npy"}, targets, progress=False)
    assert (objects[0].spec, objects.location) == (None, "")
