import math

import numpy as np
import pandas as pd
import pytest
import torch

from hubfast import Ranking, as_source, rank
from hubfast.ranking import RankedModel
from hubfast.ranking.agreement import agreement
from hubfast.scores import h_score, leep, logme, nce, regularized_h_score
from hubfast.scores.bootstrap import bootstrap

COUNT = 240


def problem(seed=0):
    """Features of three models of falling quality, the last two hardly different."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 4, COUNT)
    signal = np.eye(4)[targets] @ rng.normal(size=(4, 12))
    strengths = {"good": 1.0, "poor": 0.10, "poorer": 0.09}
    features = {n: s * signal + rng.normal(size=(COUNT, 12)) for n, s in strengths.items()}
    return features, targets


def hub_of(features):
    return {name: as_source(lambda rows, f=f: f[rows[:, 0].long()]) for name, f in features.items()}


def data_of(targets):
    return torch.arange(len(targets))[:, None].float(), targets


def test_scores_order_and_intervals():
    features, targets = problem()
    found = rank(hub_of(features), data_of(targets), batch_size=17, progress=False)
    assert found.top(1) == ["good"]
    assert (found.metric, found.task, found.samples, found.classes) == (
        "logme",
        "classification",
        COUNT,
        4,
    )
    for model in found:
        assert model.score == pytest.approx(logme(features[model.name], targets), rel=1e-12)
        assert model.low < model.score < model.high
        assert model.width == 12
        assert model.seconds.total > 0
    assert [m.tied for m in found] == [True, False, False]


def test_indistinguishable_models_share_the_lead():
    features, targets = problem()
    del features["good"]
    found = rank(hub_of(features), data_of(targets), progress=False)
    assert [m.tied for m in found] == [True, True]
    assert "2 models are not distinguishable from the best" in " ".join(str(found).split())


@pytest.mark.parametrize("metric", ["h_score", "regularized_h_score", "leep", "nce"])
def test_other_metrics(metric):
    features, targets = problem()
    logits = {name: torch.from_numpy(f[:, :6]).float() for name, f in features.items()}
    hub = {
        name: as_source(
            lambda r, f=f, z=logits[name]: (torch.from_numpy(f)[r[:, 0].long()], z[r[:, 0].long()])
        )
        for name, f in features.items()
    }
    found = rank(hub, data_of(targets), metric=metric, batch_size=50, progress=False)
    probabilities = {name: z.softmax(1) for name, z in logits.items()}
    expected = {
        "h_score": lambda n: h_score(features[n], targets),
        "regularized_h_score": lambda n: regularized_h_score(features[n], targets),
        "leep": lambda n: leep(probabilities[n], targets),
        "nce": lambda n: nce(logits[n].argmax(1), targets),
    }[metric]
    for model in found:
        assert model.error is None
        assert model.score == pytest.approx(expected(model.name), rel=1e-9)


def test_regression_and_multilabel():
    features, targets = problem()
    for values in (targets + 0.5, np.eye(4, dtype=int)[targets]):
        found = rank(hub_of(features), data_of(values), progress=False)
        assert found.top(1) == ["good"]
        assert found.classes is None


def test_a_failing_model_becomes_a_row():
    features, targets = problem()

    def broken(batch):
        raise RuntimeError("weights are cursed\nand more")

    def poisoned(batch):
        return torch.full((len(batch), 3), math.nan)

    def unloadable():
        raise OSError

    from hubfast.hub import Source

    hub = [
        as_source(broken),
        as_source(poisoned),
        Source("gone", unloadable),
        *[as_source(s, name=n) for n, s in hub_of(features).items()],
    ]
    found = rank(hub, data_of(targets), progress=False)
    assert [m.name for m in found.scored] == ["good", "poor", "poorer"]
    assert {m.name: m.error for m in found.failed} == {
        "broken": "RuntimeError: weights are cursed",
        "poisoned": "ValueError: features must be finite, got 384 NaN or inf, first at (0, 0)",
        "gone": "OSError",
    }
    assert "failed: gone: OSError" in str(found)


def test_all_models_may_fail():
    found = rank([lambda batch: 1 / 0], data_of(problem()[1]), progress=False)
    assert found.scored == ()
    assert "ZeroDivisionError" in str(found)
    with pytest.raises(ValueError, match=r"k must be in 1\.\.0, got 1"):
        found.top(1)


def test_interruption_keeps_what_was_scored():
    features, targets = problem()

    def interrupted(batch):
        raise KeyboardInterrupt

    hub = {"first": hub_of(features)["good"], "second": interrupted, "third": len}
    found = rank(hub, data_of(targets), progress=False)
    assert found.top(1) == ["first"]
    assert [m.error for m in found.failed] == ["not run: interrupted"] * 2


def test_samples_are_drawn_alike_for_all_and_seeded():
    features, targets = problem()
    a, b, c = (
        rank(hub_of(features), data_of(targets), samples=100, seed=s, progress=False)
        for s in (1, 1, 2)
    )
    assert a.samples == 100
    assert [m.score for m in a] == [m.score for m in b] != [m.score for m in c]
    assert [m.low for m in a] == [m.low for m in b]


def test_bad_arguments_stop_before_any_model_runs():
    def never(batch):
        raise AssertionError

    data = data_of(problem()[1])
    with pytest.raises(ValueError, match=r"metric must be one of .*, got 'magic'"):
        rank([never], data, metric="magic")
    with pytest.raises(
        ValueError, match=r"'leep' is for classification, the targets are regression"
    ):
        rank([never], data, metric="leep", task="regression")
    with pytest.raises(ValueError, match=r"batch_size must be at least 1, got 0"):
        rank([never], data, batch_size=0)
    with pytest.raises(ValueError, match=r"samples must be at least 1, got 0"):
        rank([never], data, samples=0)
    with pytest.raises(ValueError, match=r"at least 2 classes, got \[5\]"):
        rank([never], data_of(np.full(9, 5)))
    with pytest.raises(ValueError, match=r"data must hold samples, got none in 'arrays'"):
        rank([never], data_of(np.zeros(0, int)))
    with pytest.raises(TypeError, match=r"hub must hold .* got None"):
        rank(None, data)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"device 'cuda' is not there"):
            rank([never], data, device="cuda")


@pytest.fixture
def ranking():
    features, targets = problem()
    hub = {**hub_of(features), "broken": lambda batch: 1 / 0}
    return rank(hub, data_of(targets), progress=False)


def test_frame_csv_and_json(ranking, tmp_path):
    extended = ranking.with_column("accuracy", {"good": 0.9, "poor": 0.5})
    frame = extended.to_frame()
    assert frame["model"].tolist() == ["good", "poor", "poorer", "broken"]
    assert frame["rank"].tolist() == [1, 2, 3, pd.NA]
    assert frame["accuracy"].tolist()[:2] == [0.9, 0.5]
    extended.to_csv(tmp_path / "r.csv")
    back = pd.read_csv(tmp_path / "r.csv")
    assert back["logme"].tolist()[:3] == [m.score for m in ranking.scored]
    extended.to_json(tmp_path / "r.json")
    assert Ranking.from_json(tmp_path / "r.json") == extended
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"does not hold hubfast\.Ranking"):
        Ranking.from_json(tmp_path / "x.json")


def test_shown_in_a_notebook_and_on_a_terminal(ranking):
    html = ranking._repr_html_()
    assert html.startswith("<table")
    assert "ZeroDivisionError" in html
    shown = str(ranking)
    for model in ranking.scored:
        assert f"{model.score:.4f}" in shown
        assert model.name in shown


def test_agreement():
    rows = tuple(RankedModel(n, score=s) for n, s in zip("abcd", (4.0, 3.0, 2.0, 1.0), strict=True))
    ranking = Ranking(rows, "logme", "d", "classification", 9)
    found = agreement(ranking.with_column("q", {"a": 0.5, "b": 0.9, "c": 0.1}), "q")
    assert found.models == 3
    assert found.regret == pytest.approx(0.4)
    perfect = agreement(ranking.with_column("q", {"a": 4, "b": 3, "c": 2, "d": 1}), "q")
    assert perfect == pytest.approx((4, 1.0, 1.0, 0.0))
    with pytest.raises(ValueError, match=r"title must be one of \[\], got 'q'"):
        agreement(ranking, "q")
    with pytest.raises(ValueError, match=r"at least 2 scored models, got 1"):
        agreement(ranking.with_column("q", {"a": 1.0}), "q")


def test_bootstrap_by_hand():
    """The interval of a mean of n normal values is 1.96 deviations / sqrt(n) wide each way."""
    values = torch.randn(512, dtype=torch.float64)
    found = bootstrap([0.0], [values], 512, seed=0)
    half = 1.96 * float(values.std()) / 512**0.5
    assert found.low[0] == pytest.approx(-half, rel=0.1)
    assert found.high[0] == pytest.approx(half, rel=0.1)
    more = bootstrap([0.0], [values], 4 * 512, seed=0)  # of 2048 samples, 512 were looked at
    assert more.high[0] == pytest.approx(half / 2, rel=0.1)


def test_paired_differences_tell_more_than_intervals():
    noise = torch.randn(500, dtype=torch.float64)
    found = bootstrap([0.05, 0.0, 0.0], [noise, noise, torch.randn(500).double()], 500, seed=0)
    assert found.low[0] < 0.0  # the intervals overlap
    assert found.tied.tolist() == [True, False, True]


def test_influence_that_is_not_finite_gives_no_interval():
    bad = torch.tensor([1.0, math.inf, 2.0], dtype=torch.float64)
    good = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = bootstrap([1.0, 2.0], [bad, good], 3, seed=0)
    assert math.isnan(found.low[0])
    assert found.tied.tolist() == [True, True]
