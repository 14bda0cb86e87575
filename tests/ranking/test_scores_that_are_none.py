"""A score that is NaN or infinite: a row with its reason, no place, null in JSON, empty in CSV."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast import rank
from hubfast.ranking import MetricScore, RankedModel, Ranking
from hubfast.ranking.scoring import Outcome, rank_rows
from hubfast.report import write_ranking
from hubfast.scores.fitted import SampleScore
from hubfast.scores.registry import SCORES
from hubfast.scores.streamed import Scored

ODD = [math.nan, math.inf, -math.inf]
WIDTH = 5  # of the features whose score is none
REASON = "which is no finite number"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Three models, one of which has a score by k-NN that is none."""
    rng = np.random.default_rng(0)
    targets = np.arange(300) % 3
    np.save(tmp_path / "y.npy", targets)
    for name, width, signal in (("odd", WIDTH, 9.0), ("weak", 4, 0.3), ("strong", 6, 3.0)):
        features = rng.normal(size=(300, width)) + signal * np.eye(3, width)[targets]
        np.save(tmp_path / f"{name}.npy", features)
    monkeypatch.chdir(tmp_path)
    record = SCORES["knn"]

    def with_score(value):
        def fit(features, targets, **given):
            found = record.fit(features, targets, **given)
            odd = SampleScore(value, found.influences * value)
            return odd if features.shape[1] == WIDTH else found

        monkeypatch.setitem(SCORES, "knn", replace(record, fit=fit))
        return ["odd.npy", "weak.npy", "strong.npy"]

    return with_score


def strictly(path):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("race", [False, True])
def test_a_ranking_by_one_metric(hub, tmp_path, value, race):
    options = {"metric": "knn", "cache": False, "progress": False}
    found = rank(hub(value), "y.npy", race=race, top=1, **options)
    known = [m.name for m in found.ranked]
    assert known[0] == "strong"
    assert found.top(1) == ["strong"]
    odd = next(m for m in found if m.name == "odd")
    assert (odd.score, odd.low, odd.high, odd.tied) == (None, None, None, False)
    assert odd.error
    assert odd in found.failed
    assert found.places[found.models.index(odd)] is None
    alone = rank(["weak.npy", "strong.npy"], "y.npy", race=False, **options)
    if not race:
        assert [m.score for m in found.ranked] == [m.score for m in alone.ranked]
        assert [m.tied for m in found.ranked] == [m.tied for m in alone.ranked]
    found.to_json(tmp_path / "r.json")
    written = {row["name"]: row for row in strictly(tmp_path / "r.json")["models"]}
    assert written["odd"]["score"] is None
    assert Ranking.from_json(tmp_path / "r.json") == found
    found.to_csv(tmp_path / "r.csv")
    with (tmp_path / "r.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert rows["odd"]["knn"] == rows["odd"]["low"] == rows["odd"]["rank"] == ""
    assert rows["odd"]["error"]
    write_ranking(tmp_path / "r.html", found)
    assert "failed: odd: " in str(found)


@pytest.mark.parametrize("value", ODD)
def test_a_consensus(hub, tmp_path, value):
    metrics = ["logme", "knn", "h_score"]
    found = rank(hub(value), "y.npy", metrics=metrics, cache=False, progress=False)
    odd = next(m for m in found if m.name == "odd")
    assert odd.score is not None  # the other metrics have it
    assert (odd.scores["knn"].score, odd.scores["knn"].tied) == (None, False)
    assert REASON in odd.scores["knn"].error
    alone = found.by("knn")
    assert [m.name for m in alone] == ["strong", "weak", "odd"]
    assert alone.places == (1, 2, None)
    found.to_json(tmp_path / "r.json")
    strictly(tmp_path / "r.json")
    assert Ranking.from_json(tmp_path / "r.json") == found
    write_ranking(tmp_path / "r.html", found)
    str(found)


def outcome(name, scores):
    found = {metric: Scored(s, SampleScore(s, _influence(s)).influences, 4) for metric, s in scores}
    return Outcome(RankedModel(name, width=3), found)


def _influence(score):
    import torch

    return torch.full((4,), score, dtype=torch.float64)


VALUES = st.floats(-1e100, 1e100) | st.sampled_from(ODD)


@given(st.lists(VALUES, min_size=1, max_size=8))
@settings(deadline=None, max_examples=30)
def test_what_is_not_finite_never_moves_the_others(values):
    rows = rank_rows([outcome(str(i), [("knn", v)]) for i, v in enumerate(values)], ["knn"], 0)
    finite = [float(v) for v in values if math.isfinite(v)]
    assert [row.score for row in rows[: len(finite)]] == sorted(finite, reverse=True)
    for row in rows[len(finite) :]:
        assert row.score is None
        assert REASON in row.error
    by_name = {str(i): v for i, v in enumerate(values)}
    for row in rows:
        assert (row.score is not None) == math.isfinite(by_name[row.name])


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6))
@settings(deadline=None, max_examples=30)
def test_a_consensus_of_none_is_none(values):
    metrics = ["knn", "parc"]
    found = [outcome(str(i), zip(metrics, pair, strict=True)) for i, pair in enumerate(values)]
    rows = rank_rows(found, metrics, 0)
    scores = [row.score for row in rows if row.score is not None]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    known = {str(i) for i, pair in enumerate(values) if any(map(math.isfinite, pair))}
    assert {row.name for row in rows if row.score is not None} == known
    assert all(REASON in row.error for row in rows if row.score is None)


@given(VALUES, VALUES, VALUES)
def test_the_record_keeps_finite_numbers_only(score, low, high):
    for kind in (MetricScore, lambda **given: RankedModel("x", **given)):
        row = kind(score=score, low=low, high=high, tied=True)
        kept = [x for x in (row.score, row.low, row.high) if x is not None]
        assert all(map(math.isfinite, kept))
        assert (row.error is None) == math.isfinite(score)
        assert row.tied == math.isfinite(score)


def test_columns_of_ones_own_leave_out_what_is_not_finite(tmp_path):
    row = RankedModel("x", score=1.0)
    found = Ranking((row,), "knn", "d", "regression", 3)
    found = found.with_column("accuracy", {"x": math.nan, "y": 0.5})
    assert found.extra == {"accuracy": {"y": 0.5}}
    found.to_json(tmp_path / "r.json")
    assert Ranking.from_json(tmp_path / "r.json") == found


def test_files_of_former_versions_with_bare_nan_are_read(tmp_path):
    row = replace(RankedModel("x", score=1.0), name="y")
    Ranking((row,), "knn", "d", "regression", 3).to_json(tmp_path / "r.json")
    text = (tmp_path / "r.json").read_text().replace('"score": 1.0', '"score": NaN')
    (tmp_path / "r.json").write_text(text)
    found = Ranking.from_json(tmp_path / "r.json")
    assert (found[0].score, found.ranked) == (None, ())
