"""Whatever dies on the way, the ranking is the same afterwards, or says why it is not."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import away_models
import pytest
from away_models import Poison, Sleeping, hub_of, numbers, problem, ran

import hubfast
from hubfast import as_source

ray = pytest.importorskip("ray")
rank = partial(hubfast.rank, progress=False)
pytestmark = pytest.mark.usefixtures("one_thread")
COUNT, PAUSE = 3000, 0.01
BLOCK = 1024


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The local ranking."""
    return numbers(rank(hub_of(tmp_path_factory.mktemp("plain"), 4), problem(COUNT), cache=False))


def when(condition, then):
    """Does something once a condition holds, in a thread."""

    def wait():
        while not condition():
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def kill_one(folder):
    os.kill(next(iter(ran(folder))), signal.SIGKILL)


def test_a_worker_is_killed(tmp_path, plain):
    hub = hub_of(tmp_path, 4, pause=PAUSE)
    killing = when(lambda: sum(ran(tmp_path).values()) > 4000, partial(kill_one, tmp_path))
    found = rank(hub, problem(COUNT), ray="local:2", cache_dir=tmp_path / "cache")
    killing.join(0)
    assert not killing.is_alive()
    assert numbers(found) == plain
    assert len(ran(tmp_path)) >= 2
    assert sum(ran(tmp_path).values()) <= 4 * COUNT + 2 * BLOCK


def test_a_model_that_kills_its_workers_is_a_row(tmp_path, plain):
    poison = as_source(Poison(9.0, tmp_path), name="poison")
    hub = [*hub_of(tmp_path, 2), poison, *hub_of(tmp_path, 4)[2:]]
    found = rank(hub, problem(COUNT), ray="local:2", cache=False)
    (row,) = found.failed
    assert row.error == "killed its worker 3 times: its process ended"
    places = {row[0]: row[1] for row in plain}
    assert {m.name: m.score for m in found.scored} == places


def test_a_slow_worker_is_not_waited_for(tmp_path, plain):
    """What it sleeps over is done by another one, too."""
    hub = [as_source(Sleeping(1.0, tmp_path), name="m0"), *hub_of(tmp_path, 4)[1:]]
    begun = time.monotonic()
    found = rank(hub, problem(COUNT), ray="local:2", cache=False)
    assert numbers(found) == plain
    assert (tmp_path / "first").exists()
    assert time.monotonic() - begun < 200  # it sleeps 240 s over the first block alone


DRIVER = """
import sys
from pathlib import Path
import hubfast
from away_models import hub_of, problem

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    hubfast.rank(
        hub_of(folder, 4, pause=0.02), problem(3000), progress=False, ray="local:2",
        cache_dir=folder / "cache",
    )
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_the_driver_is_killed_or_interrupted(tmp_path, plain, how):
    """No worker outlives it, and the next ranking finds what was done."""
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    helpers = Path(away_models.__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": f"{helpers}:{os.environ.get('PYTHONPATH', '')}",
        "OMP_NUM_THREADS": "1",
    }
    driver = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment)
    when(lambda: sum(ran(tmp_path).values()) > 5000, lambda: driver.send_signal(how)).join()
    driver.wait()
    workers = [*ran(tmp_path)]
    gone(workers)
    before = sum(ran(tmp_path).values())
    found = rank(hub_of(tmp_path, 4), problem(COUNT), ray="local:2", cache_dir=tmp_path / "cache")
    assert numbers(found) == plain
    assert before >= 5000
    # No more than the blocks that were in flight were run again.
    assert sum(ran(tmp_path).values()) <= 4 * COUNT + 3 * BLOCK
    every = ran(tmp_path)
    again = rank(hub_of(tmp_path, 4), problem(COUNT), ray="local:2", cache_dir=tmp_path / "cache")
    assert numbers(again) == plain
    assert ran(tmp_path) == every  # nothing was left to be run, and nothing was


def gone(processes, within=30.0):
    """Waits until none of these processes is left."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        left = [process for process in processes if Path(f"/proc/{process}").exists()]
        if not left:
            return
        time.sleep(0.1)
    pytest.fail(f"processes are left: {left}")


@pytest.fixture
def two_nodes():
    """A cluster of two nodes of one CPU each, on this machine; gives it and the second one."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=dict(options))
    second = cluster.add_node(**options)
    yield cluster, second
    cluster.shutdown()


def test_a_node_is_lost(tmp_path, plain, two_nodes):
    cluster, second = two_nodes
    hub = hub_of(tmp_path, 4, pause=PAUSE)

    def lose():
        second.kill_raylet(check_alive=False)

    when(lambda: len(ran(tmp_path)) == 2 and sum(ran(tmp_path).values()) > 4000, lose)
    found = rank(hub, problem(COUNT), ray=cluster.address, cache_dir=tmp_path / "cache")
    assert numbers(found) == plain
    assert len(ran(tmp_path)) == 2


def test_the_object_store_is_full(tmp_path, plain, two_nodes):
    """Nothing that a ranking sends needs it; the samples, which are an array, are sent once."""
    import numpy as np

    cluster, _ = two_nodes
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        held = [ray.put(np.ones(30 << 20, np.uint8)) for _ in range(4)]
        found = rank(hub_of(tmp_path, 4), problem(COUNT), ray=cluster.address, cache=False)
        assert numbers(found) == plain
        assert len(held) == 4
    finally:
        ray.shutdown()
