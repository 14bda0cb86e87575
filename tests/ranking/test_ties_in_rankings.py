"""Equal scores are no order, and scores that say nothing give neither a place nor a vote."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from hubfast import Ranking, as_source, rank
from hubfast.ranking.places import places
from hubfast.ranking.rows import RankedModel


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], []),
        ([0.5], [1]),
        ([3.0, 2.0, 1.0], [1, 2, 3]),
        ([2.0, 3.0, 3.0, 1.0], [3, 1, 1, 4]),
        ([9.0, 9.0 + 4e-15, 9.0 - 4e-15], [1, 1, 1]),
        ([0.0, 0.0, -1e-3], [1, 1, 3]),
        ([1.0, 1.0 + 1e-6], [2, 1]),
        ([math.nan, 1.0, math.nan, -math.inf], [3, 1, 3, 2]),
        ([math.inf, math.inf], [1, 1]),
    ],
)
def test_places_by_hand(scores, expected):
    assert places(scores) == expected


def test_places_do_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, 30).astype(float)
    shuffled = rng.permutation(30)
    found = np.array(places(list(scores)))
    assert places(list(scores[shuffled])) == list(found[shuffled])
    for i in range(30):
        assert found[i] == 1 + (scores > scores[i]).sum()


def hub(count, widths, seed=0):
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    sources = {}
    for i, width in enumerate(widths):
        features = rng.normal(size=(count, width))
        features[:, :3] += (1 + i) * np.eye(3)[targets]
        table = torch.from_numpy(features)
        sources[f"w{width}-{i}"] = as_source(lambda rows, t=table: t[rows[:, 0].long()])
    return sources, (torch.arange(count)[:, None].float(), targets)


def test_a_score_that_says_nothing_gives_no_place():
    models, data = hub(20, (30, 40, 60))
    with pytest.warns(UserWarning, match="h_score says nothing") as told:
        _ = rank_quietly(models, data, told)
    found = rank_quietly(models, data)
    assert [m.score for m in found] == pytest.approx([2.0] * 3)
    assert found.places == (None, None, None)
    assert found.ranked == ()
    assert not any(m.tied for m in found)
    assert all("n <= D + 1" in m.void for m in found)
    assert found.to_frame()["rank"].isna().all()
    with pytest.raises(ValueError, match=r"k must be in 1\.\.0, got 1; 3 of 3 models have no pla"):
        found.top(1)
    shown = str(found)
    assert len(re.findall(r"^ +-  w\d+", shown, re.M)) == 3
    assert shown.count("says nothing") == 1


def rank_quietly(models, data, told=None, **options):
    import warnings

    if told is not None:  # only that the score does warn, outside a ranking
        from hubfast.scores import h_score

        return h_score(np.random.default_rng(0).normal(size=(20, 30)), data[1])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        return rank(models, data, progress=False, **({"metric": "h_score"} | options))


def test_models_with_a_place_come_before_those_without():
    models, data = hub(40, (60, 5, 50, 4))
    found = rank_quietly(models, data)
    assert [m.name for m in found][2:] == ["w60-0", "w50-2"]
    assert found.places == (1, 2, None, None)
    assert found.top(2) == [m.name for m in found.ranked]
    assert "2 of 4 models have no place by h_score: h_score says nothing for n = 40" in str(found)


def test_it_does_not_vote_in_the_consensus():
    models, data = hub(20, (30, 40, 60))
    both = rank_quietly(models, data, metrics=["h_score", "gbc"])
    alone = rank_quietly(models, data, metrics=["gbc", "parameters"])
    assert {m.name: m.score for m in both} == {m.name: m.score for m in alone}
    for m in both:
        s = m.scores["h_score"]
        assert s.score == pytest.approx(2.0)
        assert "says nothing" in s.void
        assert (s.low, s.high, s.tied) == (None, None, False)
        assert m.scores["gbc"].void == ""
    assert both.by("h_score").places == (None,) * 3
    assert both.by("gbc").places == (1, 2, 3)


def test_a_consensus_without_any_vote_fails_and_says_why():
    models, data = hub(20, (30, 40))
    found = rank_quietly(models, data, metrics=["h_score", "sfda"])
    assert found.scored == ()
    for m in found:
        assert "h_score says nothing" in m.error
        assert "sfda says nothing" in m.error
    assert found.by("h_score").scored  # the values are there to be seen


def test_written_and_read_again(tmp_path):
    models, data = hub(20, (30, 4))
    found = rank_quietly(models, data)
    found.to_json(tmp_path / "r.json")
    assert Ranking.from_json(tmp_path / "r.json") == found
    found.to_csv(tmp_path / "r.csv")
    frame = pd.read_csv(tmp_path / "r.csv")
    assert frame["rank"].tolist()[0] == 1
    assert np.isnan(frame["rank"][1])
    assert "says nothing" in frame["void"][1]


def test_equal_scores_share_a_place_everywhere():
    rows = tuple(RankedModel(n, score=s) for n, s in zip("abcd", (3, 2, 2, 1), strict=True))
    found = Ranking(rows, "knn", "d", "classification", 9)
    assert found.places == (1, 2, 2, 4)
    assert found.to_frame()["rank"].tolist() == [1, 2, 2, 4]
    assert [line.split()[0] for line in str(found).splitlines() if " 0.00" in line] == [
        *("1", "2", "2", "4")
    ]


def test_by_leaves_nothing_of_another_score_on_failed_rows():
    models, data = hub(60, (4, 5))
    models["broken"] = lambda rows: 1 / 0
    found = rank(models, data, metrics=["logme", "leep"], progress=False)
    for m in found.by("leep"):
        assert (m.score, m.low, m.high, m.tied, m.void) == (None, None, None, False, "")
        assert m.error
    assert [m.name for m in found.by("logme").failed] == ["broken"]


def test_a_score_of_nan_has_no_place():
    row = RankedModel("x", score=1.0)
    found = Ranking((row, replace(row, name="y", score=math.nan)), "m", "d", "regression", 3)
    assert found.places == (1, None)
