"""The engine that has models run elsewhere, without any process but this one."""

from functools import partial

import away_models
import layered_models
import pytest
from away_models import Failing, hub_of, numbers, problem, ran
from fake_cluster import FakeCluster, use

import hubfast
from hubfast import as_source

rank = partial(hubfast.rank, progress=False)
pytestmark = pytest.mark.usefixtures("one_thread")
COUNT = 3000  # more than are kept as features: sums over blocks are merged


CASES = [
    ({"metrics": ["logme", "knn", "leep"]}, True, True),
    ({"metrics": ["logme", "leep"]}, False, True),
    ({"metric": "leep"}, False, False),
    ({"metric": "knn"}, True, False),
    ({"metric": "parameters"}, False, True),
    ({"race": True, "top": 1}, True, True),
    ({"race": True, "top": 1, "metric": "knn"}, False, False),
]


@pytest.mark.parametrize(("options", "sharing", "cached"), CASES)
def test_any_order_of_arrival(tmp_path, monkeypatch, options, sharing, cached):
    data = problem(COUNT)
    hub = [*hub_of(tmp_path, 2), *hub_of(tmp_path, 3, keyed=False)[2:]]
    plain = rank(hub, data, cache=False, **options)
    orders = []
    for seed in range(2):
        cluster = FakeCluster(2 + seed, seed=seed, sharing=sharing)
        use(monkeypatch, cluster)
        where = {"cache_dir": tmp_path / f"cache {seed}"} if cached else {"cache": False}
        found = rank(hub, data, ray="local", **where, **options)
        assert numbers(found) == numbers(plain)
        assert found.notes == plain.notes
        orders.append(cluster.log)
    assert orders[0] != orders[1] or len(orders[0]) < 10  # few have not many orders
    if not cached:
        return
    # What came is kept: neither a local ranking nor another one on workers runs a model again.
    assert [*(tmp_path / "cache 0").glob("passing-*")] == []
    for ray in (None, "local"):
        (tmp_path / "ran").unlink(missing_ok=True)
        again = rank(hub[:2], data, cache_dir=tmp_path / "cache 0", ray=ray, **options)
        assert {m.name for m in again} == {"m0", "m1"}
        ahead = options.get("race") and ray  # workers may run blocks that the race does not need
        assert ahead or not ran(tmp_path)


@pytest.mark.parametrize("seed", range(2))
def test_workers_that_die(tmp_path, monkeypatch, seed):
    data = problem(COUNT)
    hub = hub_of(tmp_path, 8)
    plain = rank(hub, data, cache=False)
    cluster = FakeCluster(3, seed=seed, deaths=0.1)
    use(monkeypatch, cluster)
    found = rank(hub, data, ray="local", cache_dir=tmp_path / "cache")
    assert cluster.killed
    rows = {row[0]: row[1] for row in numbers(plain)}
    for m in found:
        why = "killed its worker 3 times: WorkerDied: its time has come"
        assert m.score == rows[m.name] if m.error is None else m.error == why
    assert len(found.scored) >= 6


def test_sums_stand_for_features_that_were_only_passing(tmp_path, monkeypatch):
    """Above 2,048 samples and 2 D, what workers keep is deleted once sums have it."""
    from hubfast.extraction.cache import Cache

    use(monkeypatch, FakeCluster(2))
    rank(hub_of(tmp_path, 2), problem(COUNT), ray="local", cache_dir=tmp_path / "cache")
    sizes = [entry.facts and entry.key["kind"] for entry in Cache(tmp_path / "cache").entries()]
    assert sizes.count("outputs") == 2 * 5  # of the first 2,048 samples
    assert sizes.count("statistics") == 2


def test_an_interrupted_ranking_says_so_and_goes_on(tmp_path, monkeypatch):
    data, hub = problem(COUNT), hub_of(tmp_path, 4)
    plain = rank(hub, data, cache=False)
    cluster = FakeCluster(2)
    use(monkeypatch, cluster)
    from hubfast.extraction.cluster.engine import ClusterEngine

    heard, count = ClusterEngine._hear, [0]

    def interrupted(self, wait):
        count[0] += 1
        if count[0] == 40:
            raise KeyboardInterrupt
        return heard(self, wait)

    monkeypatch.setattr(ClusterEngine, "_hear", interrupted)
    found = rank(hub, data, ray="local", cache_dir=tmp_path / "cache")
    assert found.interrupted
    assert len(cluster.killed) == 2
    again = rank(hub, data, cache_dir=tmp_path / "cache")
    assert numbers(again) == numbers(plain)


def test_no_worker_can_be_used(tmp_path, monkeypatch):
    from hubfast.extraction.cluster import worker

    monkeypatch.setattr(worker, "problem_of", lambda setup, data: "it has torch 1.0")
    use(monkeypatch, FakeCluster(2))
    with pytest.raises(RuntimeError, match=r"no worker can be used; a worker on .* it has torch"):
        rank(hub_of(tmp_path, 1), problem(300), ray="local", cache=False)


def test_what_was_kept_and_is_not_found_is_computed_again_and_at_last_said(tmp_path, monkeypatch):
    from hubfast.extraction.outputs import OutputStore

    get, lost = OutputStore.get, []

    def losing(self, samples, **how):
        found = get(self, samples, **how)
        if found is not None and len(lost) < losses:
            lost.append(samples)
            self.cache.delete(self._key(samples))
            return None
        return found

    monkeypatch.setattr(OutputStore, "get", losing)
    data = problem(400)
    losses = 1
    use(monkeypatch, FakeCluster(1))
    found = rank(hub_of(tmp_path, 1), data, ray="local", cache=False)
    assert len(found.scored) == 1
    losses = 1000
    use(monkeypatch, FakeCluster(1))
    found = rank(hub_of(tmp_path, 1), data, ray="local", cache=False)
    assert "was not found 3 times" in found[0].error


def test_a_fault_of_the_third_block(tmp_path, monkeypatch):
    data = problem(700)
    failing = as_source(Failing(3.0, tmp_path), name="failing", key="failing")
    use(monkeypatch, FakeCluster(2))
    found = rank([failing, *hub_of(tmp_path, 0)], data, ray="local", cache=False)
    assert found[0].error == "RuntimeError: the third block is cursed"
    assert found.classes == away_models.CLASSES


def test_a_cluster_that_has_no_worker_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("no worker could be hired")

    use(monkeypatch, FakeCluster(1))
    monkeypatch.setattr("hubfast.ranking.session.Crew", fail)
    with pytest.raises(RuntimeError, match="no worker could be hired"):
        rank(hub_of(tmp_path, 2), problem(300), ray="local", cache_dir=tmp_path / "cache")
    assert [*(tmp_path / "cache").glob("passing-*")] == []


@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize("options", [{"metrics": ["logme", "leep"]}, {"race": True, "top": 1}])
def test_workers_give_all_feature_points_at_once(tmp_path, monkeypatch, sharing, options):
    data = layered_models.problem(COUNT)
    hub = layered_models.hub_of(tmp_path, [(0.4, 1.2, 0.6), (0.2, 0.3, 0.9), (0.1, 0.1, 0.1)])
    asked = {"layers": "all", "pooling": ["auto", "max"], **options}
    plain = rank(hub, data, cache=False, **asked)
    every = layered_models.ran(tmp_path)
    use(monkeypatch, FakeCluster(2, sharing=sharing))
    found = rank(hub, data, ray="local", cache_dir=tmp_path / "cache", **asked)
    assert layered_models.numbers(found) == layered_models.numbers(plain)
    points = len(found[0].points)
    assert points == 6
    assert layered_models.ran(tmp_path) < points * every  # a slow block may be run twice
    again = rank(hub, data, cache_dir=tmp_path / "cache", **asked)
    assert layered_models.numbers(again) == layered_models.numbers(plain)
    assert not layered_models.ran(tmp_path) or "race" in options
