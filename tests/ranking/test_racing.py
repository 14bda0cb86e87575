"""A race through the engine: whoever stops has seen fewer samples, and the best are kept."""

import pytest
from counted_models import hub_of, problem

import hubfast
from hubfast import Ranking, as_source

COUNT = 3000


def rank(hub, data, **options):
    return hubfast.rank(hub, data, cache=False, progress=False, race=True, **options)


@pytest.fixture(scope="module")
def hub():
    return problem(COUNT, models=4)


def test_the_best_are_those_of_all_samples(hub):
    samples, targets, features = hub
    sources, _ = hub_of(features)
    found = rank(sources, (samples, targets), top=2)
    whole = hubfast.rank(sources, (samples, targets), cache=False, progress=False)
    assert set(found.top(2)) == set(whole.top(2))
    assert {m.standing for m in found.ranked} == {"accepted"}
    seen = {m.name: m.samples for m in found}
    assert max(seen.values()) < COUNT
    for m in found:
        assert m.samples in (256, 512, 1024, 2048)
        assert m.why
    assert found.race.passes == pytest.approx(sum(seen.values()) / (4 * COUNT))
    looks = [128, 256, 512, 1024, 2048]
    assert [look.samples for look in found.race.looks] == looks[
        : looks.index(max(seen.values())) + 1
    ]


def test_the_same_again_in_json(hub, tmp_path):
    samples, targets, features = hub
    found = rank(hub_of(features)[0], (samples, targets), top=1)
    found.to_json(tmp_path / "r.json")
    assert Ranking.from_json(tmp_path / "r.json") == found


@pytest.mark.parametrize("metric", ["h_score", "knn", "linear_probe", "transrate", "nce"])
def test_every_score_with_influences(hub, metric):
    samples, targets, features = hub
    found = rank(hub_of(features)[0], (samples, targets), top=1, metric=metric, samples=1024)
    whole = hubfast.rank(
        hub_of(features)[0],
        (samples, targets),
        metric=metric,
        samples=1024,
        cache=False,
        progress=False,
    )
    known = found.ranked or tuple(m for m in found if m.standing == "undecided")
    assert whole.top(1)[0] in {m.name for m in known}


def test_a_model_that_fails_at_a_later_block_is_a_row(hub):
    samples, targets, features = hub
    sources, _ = hub_of(features)
    count = [0]

    def late(rows):
        count[0] += len(rows)
        if count[0] > 200:
            raise RuntimeError("cursed")
        return hub_of(features)[0][0].given(rows)

    found = rank([as_source(late, name="late"), *sources], (samples, targets), top=2)
    assert [(m.name, m.error) for m in found.failed] == [("late", "RuntimeError: cursed")]
    whole = hubfast.rank(sources, (samples, targets), cache=False, progress=False)
    assert set(found.top(2)) == set(whole.top(2))


def test_the_budget_leaves_models_undecided(hub, monkeypatch):
    from hubfast.ranking.budget import Budget

    samples, targets, features = hub
    calls = [0]

    def check(self):
        from hubfast.ranking.budget import TimeIsUp

        calls[0] += 1
        if calls[0] > 9:  # at the second look
            raise TimeIsUp("the budget of 1 s is spent")

    monkeypatch.setattr(Budget, "check", check)
    found = rank(hub_of(features)[0], (samples, targets), top=2, budget=1)
    assert found.interrupted
    assert "the budget of 1 s is spent" in found.race.why
    assert [m.error for m in found.failed] == []
    assert "undecided" in {m.standing for m in found}


@pytest.mark.parametrize(
    ("models", "options", "said"),
    [(1, {}, "the hub has one model"), (3, {"top": 3}, "top is 3, and the hub has 3 models")],
)
def test_nothing_to_race(models, options, said):
    samples, targets, features = problem(600, models=models)
    found = rank(hub_of(features)[0], (samples, targets), **options)
    assert found.race is None
    assert len(found.ranked) == models
    assert any(said in note for note in found.notes)


def test_stored_features_race(hub, tmp_path):
    import numpy as np

    _, targets, features = hub
    for name, values in features.items():
        np.save(tmp_path / f"{name}.npy", values.astype(np.float32))
    found = rank([tmp_path], targets, top=1)
    assert found.top(1) == ["m0"]
    assert found.race.passes < 1
