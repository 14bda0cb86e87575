"""The trials on the mini-hub: resumed trials, intervals, selection, costs, its command."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
from scipy import stats
from typer.testing import CliRunner

from hubfast.bench.tuning import speed, trials
from hubfast.bench.tuning.summary import Interval, accuracies, selection
from hubfast.bench.tuning.trials import Trial, compare, data_of
from hubfast.cli import app
from hubfast.minihub import models
from hubfast.minihub.models import spec_of
from hubfast.tuning import Recipe
from hubfast.utils.threads import one_torch_thread

TINY = dataclasses.replace(spec_of("convnext_hasty"), name="tiny", samples=64, epochs=1)
OTHER = dataclasses.replace(TINY, name="other", source="letters")
QUICK = Recipe(epochs=1, batch_size=60)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HUBFAST_CACHE", str(tmp_path))
    monkeypatch.setattr(models, "MODELS", (TINY, OTHER))
    monkeypatch.setattr(trials, "TOP", 2)
    data_of.cache_clear()
    with one_torch_thread():
        yield tmp_path
    data_of.cache_clear()


def test_trials_are_kept_and_resumed(cache, monkeypatch):
    path = cache / "trials.jsonl"
    options = {
        "targets": ["handwritten"],
        "shares": [0.5],
        "seeds": 1,
        "recipe": QUICK,
        "rates": [1e-3],
        "progress": False,
    }
    first = compare(path, methods=["single"], **options)
    assert [(t.method, t.samples) for t in first] == [("single", 50), ("each", 50), ("each", 50)]
    assert {t.model for t in first[1:]} == {"tiny", "other"}
    ranked = next(t for t in first if t.method == "single")
    alone = next(t for t in first[1:] if t.model == ranked.model)
    assert ranked.accuracy == alone.accuracy  # the same model, trained the same way
    text = path.read_text()
    path.write_text(text + '{"recipe": "cut off by a k')

    def refuse(*_):
        raise AssertionError("a trial was repeated")

    with monkeypatch.context() as patched:
        patched.setattr(trials, "_run", refuse)
        assert compare(path, methods=["single"], **options) == first
    more = compare(path, methods=["single", "ensemble"], **options)
    assert [t.method for t in more] == ["single", "ensemble", "each", "each"]
    assert compare(path, methods=["single", "ensemble"], **options) == more
    with pytest.raises(ValueError, match=r"methods must be of .*, got \['x'\]"):
        compare(path, methods=["x"])


def test_a_rate_is_chosen_once_on_held_out_data(cache, monkeypatch):
    seen = []

    def tune(method, model, data, recipe):
        seen.append((method, recipe.lr, recipe.seed, len(data.train), len(data.test)))
        return SimpleNamespace(
            models=["tiny"],
            evaluations={"test": SimpleNamespace(value=-abs(recipe.lr - 0.02))},
            cost=SimpleNamespace(train_parameters=1, parameters=1, multiply_adds=1),
        )

    monkeypatch.setattr(trials, "_tune", tune)
    options = {"targets": ["handwritten"], "shares": [1.0], "all_models": False}
    options |= {"recipe": QUICK, "rates": [0.01, 0.02, 0.03], "seeds": 2, "progress": False}
    rows = compare(cache / "trials.jsonl", methods=["bss"], **options)
    assert [t.rate for t in rows] == [0.02, 0.02]
    assert seen[:3] == [("bss", rate, 0, 75, 25) for rate in (0.01, 0.02, 0.03)]
    assert seen[3:] == [("bss", 0.02, 0, 100, 600), ("bss", 0.02, 1, 100, 600)]


def trial(method, target, seed, accuracy, model="m"):
    return Trial(method, target, 1.0, seed, model, 10, 1e-3, accuracy, 1, 1, 1, 0.1, 1.0)


def test_intervals_and_paired_differences():
    values = [0.5, 0.7, 0.9]
    found = Interval.of(values)
    low, high = stats.t.interval(0.95, 2, 0.7, stats.sem(values))
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert math.isnan(Interval.of([0.5]).half)
    trials = [trial("single", "a", s, v) for s, v in enumerate(values)]
    trials += [trial("bss", "a", s, v + 0.05) for s, v in enumerate(values)]
    table = accuracies(trials)
    assert table.method.tolist() == ["bss", "single"]  # best first
    gain = table["minus single"].iloc[0]
    assert (gain.mean, gain.half) == pytest.approx((0.05, 0.0), abs=1e-9)
    assert table["a 100%"].iloc[1].mean == pytest.approx(0.7)


def test_selection_compares_with_the_best_of_all():
    trials = [trial("single", "a", s, v) for s, v in enumerate([0.8, 0.6])]
    assert selection(trials) is None
    trials += [trial("each", "a", s, v, "x") for s, v in enumerate([0.8, 0.6])]
    trials += [trial("each", "a", s, v, "y") for s, v in enumerate([0.4, 0.8])]
    found = selection(trials)
    means = found.ranked.mean, found.best.mean, found.mean.mean
    assert means == pytest.approx((0.7, 0.8, 0.65))


def test_once_against_all(cache, monkeypatch):
    monkeypatch.setattr(speed, "RECIPE", QUICK)
    found = speed.once_against_all()
    assert found.models == 2
    assert 0 < found.tune_best < found.tune_all
    assert found.share == (found.rank + found.tune_best) / found.tune_all


def test_costs_are_measured(cache, monkeypatch):
    monkeypatch.setattr(speed, "RECIPE", QUICK)
    monkeypatch.setattr(speed, "EPOCHS", 2)
    monkeypatch.setattr(speed, "TOP", 2)
    found = speed._cost("ensemble", "handwritten")
    data = data_of("handwritten", 1.0, 0)
    assert len(data.ranking) == 2
    names = [models.load(m.name) for m in data.ranking]
    for model in names:
        model.reset_classifier(10)
    size = sum(p.numel() for model in names for p in model.parameters())
    assert found.parameters == found.train_parameters == size
    assert found.multiply_adds > 0
    assert found.iterations_per_second > 0
    assert found.samples_per_second > 0


def test_the_command(cache, monkeypatch):
    quick = {**compare.__kwdefaults__, "recipe": QUICK, "rates": [1e-3]}
    monkeypatch.setattr(compare, "__kwdefaults__", quick)
    command = ["bench", "tuning", "--method", "single", "--target", "handwritten", "--share"]
    command += ["0.5", "--seeds", "1", "--quiet", "--results", str(cache / "t.jsonl")]
    done = CliRunner().invoke(app, [*command, "--csv", str(cache / "t.csv")])
    assert done.exit_code == 0, done.output
    assert "rank and tune the best-ranked once" in done.output.replace("\n", " ")
    assert (cache / "t.csv").read_text().startswith("method,handwritten 50%,mean")
