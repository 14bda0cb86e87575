"""A model is ranked by its best feature point; all points are in every output."""

from functools import partial

import numpy as np
import pytest
import torch
from layered_models import hub_of, numbers, problem, ran

import hubfast
from hubfast import as_source
from hubfast.hub import Source

SIGNALS = [(0.4, 1.2, 0.6), (0.2, 0.3, 0.9), (0.8, 0.5, 0.1)]
ALL = {"layers": ["all", "mean"], "pooling": ["auto", "cls", "max"]}
SOME = {"layers": "all", "pooling": "auto"}
METRICS = (["logme"], ["knn"], ["h_score", "knn", "leep"])


@pytest.fixture
def rank(tmp_path):
    return partial(hubfast.rank, cache_dir=tmp_path / "cache", progress=False)


@pytest.fixture
def hub(tmp_path):
    return hub_of(tmp_path, SIGNALS)


def alone(rank, hub, data, point, **options):
    """A ranking by one point of each model."""
    layer, pooling = point.split("/")
    layers = layer if layer in ("last", "mean") else int(layer)
    return {m.name: m for m in rank(hub, data, layers=layers, pooling=pooling, **options)}


@pytest.mark.parametrize("metrics", METRICS)
def test_points_of_one_pass_are_those_asked_one_by_one(rank, hub, tmp_path, metrics):
    data, hub = problem(200), hub[:1]
    found = rank(hub, data, metrics=metrics, cache=False, **ALL)
    assert ran(tmp_path) == 200
    assert len(found.scored) == 1
    names = {p.point for p in found[0].points}
    assert len(names) == 3 * 3 + 3  # "auto" is "mean" at inner layers, and the mean over them
    for name in names:
        each = alone(rank, hub, data, name, metrics=metrics, cache=False)
        for m in found:
            (point,) = [p for p in m.points if p.point == name]
            one = each[m.name]
            for metric, value in point.scores.items():
                wanted = one.scores[metric] if len(metrics) > 1 else one
                assert value.score == wanted.score
                assert (value.low, value.high) == pytest.approx((wanted.low, wanted.high))
            assert point.width == one.width
            assert one.point == ("" if name == "last/auto" else name)


@pytest.mark.parametrize("metrics", METRICS)
def test_the_default_is_what_it_was(rank, hub, metrics):
    data = problem(500)
    plain = rank(hub, data, metrics=metrics, cache=False)
    assert all(not m.point and not m.points for m in plain)
    asked = rank(hub, data, metrics=metrics, cache=False, layers=["last", -1], pooling=["auto"])
    assert numbers(asked) == numbers(plain)
    every = rank(hub, data, metrics=metrics, cache=False, **ALL)
    for m in every:
        (last,) = [p for p in m.points if p.point == "last/auto"]
        (one,) = [each for each in plain if each.name == m.name]
        wanted = one.scores if len(metrics) > 1 else {metrics[0]: one}
        for metric, value in last.scores.items():
            assert value.score == wanted[metric].score
            assert value.low == pytest.approx(wanted[metric].low)


def test_the_best_layer_is_the_row(rank, hub):
    found = rank(hub, problem(600), layers="all", pooling="mean")
    assert {m.name: m.point for m in found} == {"m0": "2/mean", "m1": "last/mean", "m2": "1/mean"}
    for m in found:
        best = max(m.points, key=lambda p: p.scores["logme"].score)
        assert best.point == m.point
        assert best.share == 1.0
        assert m.score == pytest.approx(best.scores["logme"].score, abs=1e-9)
        assert (m.low, m.high) == pytest.approx(
            (best.scores["logme"].low, best.scores["logme"].high), abs=1e-2
        )
        assert {p.point: p.layer for p in m.points} == {"1/mean": 1, "2/mean": 2, "last/mean": 3}


@pytest.mark.parametrize("count", [100, 2500])
def test_the_same_again_needs_no_model(rank, hub, tmp_path, count):
    data = problem(count)
    plain = rank(hub, data, cache=False, **SOME)
    assert ran(tmp_path) == 3 * count
    first = rank(hub, data, **SOME)
    assert ran(tmp_path) == 3 * count
    assert numbers(rank(hub, data, **SOME)) == numbers(first) == numbers(plain)
    assert numbers(rank(hub, data)) == numbers(rank(hub, data, cache=False))
    assert ran(tmp_path) == 3 * count  # without a cache alone
    one = rank(hub, data, layers=2)
    assert ran(tmp_path) == 3 * min(count, 128)  # it is not known which points models have
    assert numbers(rank(hub, data, layers=2)) == numbers(one)
    assert ran(tmp_path) == 0


def test_entries_of_the_default_serve_and_are_served(rank, hub, tmp_path):
    data = problem(300)
    rank(hub, data)
    ran(tmp_path)
    rank(hub, data, **SOME)
    assert ran(tmp_path) == 3 * 300
    rank(hub, data, metric="knn", **SOME)
    rank(hub, data, metric="leep")
    assert ran(tmp_path) == 0


def test_more_samples_need_the_others_only(rank, hub, tmp_path):
    samples, targets = problem(900)
    rank(hub, (samples, targets), samples=512, **SOME)
    assert ran(tmp_path) == 3 * 512
    rank(hub, (samples, targets), **SOME)
    assert ran(tmp_path) == 3 * (900 - 512)


@pytest.mark.parametrize("metrics", [["logme"], ["h_score", "leep"]])
@pytest.mark.parametrize("after", [5, 12, 17])
def test_a_stopped_run_goes_on(rank, hub, tmp_path, monkeypatch, metrics, after):
    """Behind the samples whose features are kept there are sums alone."""
    from hubfast.extraction import model_outputs

    data, count = problem(4000), [0]
    whole = rank(hub, data, metrics=metrics, cache=False, **SOME)
    every = ran(tmp_path)
    plain = model_outputs.run_block

    def counting(*args):
        count[0] += 1
        if count[0] > after:
            raise KeyboardInterrupt
        return plain(*args)

    with monkeypatch.context() as patch:
        patch.setattr(model_outputs, "run_block", counting)
        patch.setattr("hubfast.extraction.sums.EVERY", 0.0)
        assert rank(hub, data, metrics=metrics, **SOME).interrupted
    begun = ran(tmp_path)
    found = rank(hub, data, metrics=metrics, **SOME)
    assert begun + ran(tmp_path) == every
    assert numbers(found) == numbers(whole)


@pytest.mark.parametrize("killed", [1, 2])
def test_a_run_killed_between_the_sums_of_two_points_goes_on(
    rank, hub, tmp_path, monkeypatch, killed
):
    """Sums of some points are then of more blocks than those of others."""
    from hubfast.extraction.sums import StatisticsStore

    data, count = problem(4000), [0]
    hub = hub[:1]
    whole = rank(hub, data, cache=False, **SOME)
    every = ran(tmp_path)
    put = StatisticsStore.put

    def dying(self, *args, **options):
        count[0] += 1
        if count[0] > len(whole[0].points) + killed:
            raise KeyboardInterrupt
        return put(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(StatisticsStore, "put", dying)
        patch.setattr("hubfast.extraction.sums.EVERY", 0.0)
        assert rank(hub, data, **SOME).interrupted
    begun = ran(tmp_path)
    found = rank(hub, data, **SOME)
    again = begun + ran(tmp_path) - every
    assert 0 < again <= 1024  # the one block whose sums were not all kept
    assert numbers(found) == numbers(whole)


def test_a_race_is_by_points_too(rank, tmp_path):
    signals = [(0.2 + 0.1 * i, 1.0, 0.1 * i) for i in range(3)]
    signals += [(1.6, 0.2, 0.1), (0.1, 1.5, 0.1)]
    hub, data = hub_of(tmp_path, signals), problem(1500)
    options = {"race": True, "top": 2, **SOME}
    first = rank(hub, data, **options)
    assert {*first.top(2)} == {"m3", "m4"}
    assert 0 < ran(tmp_path) < len(hub) * 1500
    assert all(m.points and m.point for m in first)
    assert numbers(rank(hub, data, **options)) == numbers(first)
    assert ran(tmp_path) == 0


def test_models_without_layers(rank, hub, tmp_path):
    samples, targets = problem(200)

    def opaque(rows):
        return rows[:, :6]

    np.save(tmp_path / "kept.npy", samples[:, :6].numpy())
    mixed = [*hub, as_source(opaque, name="opaque"), str(tmp_path / "kept.npy")]
    found = {m.name: m for m in rank(mixed, (samples, targets), layers="all")}
    plain = {m.name: m for m in rank(mixed, (samples, targets))}
    for name in ("opaque", "kept"):
        assert found[name].score == plain[name].score
        assert found[name].point == "last/auto"
        assert "its layers cannot be told" in found[name].note
        assert not plain[name].note
    for asked in ({"layers": 1}, {"layers": "mean"}, {"pooling": "cls"}):
        failed = {m.name: m for m in rank(mixed, (samples, targets), **asked)}
        assert all(failed[f"m{i}"].score is not None for i in range(3))
        for name in ("opaque", "kept"):
            assert failed[name].score is None
            assert "its layers cannot be told" in failed[name].error
            assert "layers='last' and pooling='auto'" in failed[name].error


def test_a_layer_that_no_model_has(rank, hub):
    found = rank(hub, problem(100), layers=[7, 2])
    assert all("no layer 7: it has layers 1 to 3" in m.note for m in found)
    found = rank(hub, problem(100), layers=7)
    assert all("no layer 7: it has layers 1 to 3" in m.error for m in found)


def test_scores_without_features_are_refused(rank, hub):
    with pytest.raises(ValueError, match="layers and pooling are for scores of features"):
        rank(hub, problem(100), metric="leep", layers="all")


def test_json_frame_and_csv_have_all_points(rank, hub, tmp_path):
    found = rank(hub, problem(300), metrics=["logme", "knn"], **ALL)
    found.to_json(tmp_path / "r.json")
    assert hubfast.Ranking.from_json(tmp_path / "r.json") == found
    found.to_csv(tmp_path / "r.csv")
    frame = found.to_frame()
    for m, (_, row) in zip(found, frame.iterrows(), strict=True):
        assert row["point"] == m.point
        for p in m.points:
            for metric in ("logme", "knn"):
                assert row[f"{metric}@{p.point}"] == p.scores[metric].score
    header = (tmp_path / "r.csv").read_text().splitlines()[0].split(",")
    assert header == list(frame.columns)
    plain = rank(hub, problem(300))
    assert not any("@" in name or name == "point" for name in plain.to_frame().columns)
    assert "point" in str(found)
    assert "point" not in str(plain)


def test_points_with_other_widths_and_too_few_samples(rank, tmp_path):
    """A point whose score says nothing is not chosen while another says something."""
    import timm

    from hubfast.hub.timm_models import from_module

    torch.manual_seed(0)
    module = timm.create_model("resnet18", num_classes=3).eval()
    images = (torch.rand(60, 3, 32, 32) * 255).byte()
    data = (images, np.arange(60) % 3)
    (m,) = rank([Source("r", lambda: from_module(module))], data, metric="gbc", layers="all")
    widths = {p.point: p.width for p in m.points}
    assert widths == {"1/mean": 64, "2/mean": 64, "3/mean": 128, "4/mean": 256, "last/auto": 512}
    assert m.width == widths[m.point]
