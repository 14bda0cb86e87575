"""Two processes train as one does: the same losses and weights, for any method and batch."""

import in_processes
import pytest
import torch
from torch import distributed

from hubfast.tuning.samples import BatchOrder
from hubfast.utils import files
from hubfast.utils.threads import one_torch_thread

SCRIPT = """
import sys
from pathlib import Path
import torch
import os
import in_processes
from hubfast.tuning.distributed import is_first_process
from hubfast.tuning.launch import TORCHRUN
from hubfast.tuning.processes import Processes

folder = Path(sys.argv[1])
torch.distributed.init_process_group("gloo")
for name in (*TORCHRUN, "LOCAL_WORLD_SIZE"):  # the group itself is enough
    del os.environ[name]
with Processes.joined() as processes:
    told = in_processes.what_is_told(processes)
found = {name: in_processes.run(name, folder / name) for name in in_processes.METHODS}
found["resumed"] = in_processes.run("single", folder / "one", resume=True)
in_processes.run("single", folder / "two", stop_at=5)
found["told"], found["diverged"] = told, in_processes.diverged()
torch.save(found, folder / f"{'first' if is_first_process() else 'second'}.pt")
torch.distributed.destroy_process_group()
"""
TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}

pytestmark = pytest.mark.skipif(not distributed.is_gloo_available(), reason="torch has no gloo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes trained all methods, and went on with a run of one process."""
    folder = tmp_path_factory.mktemp("two")
    with one_torch_thread():
        in_processes.run("single", folder / "one", stop_at=5)
    (folder / "script.py").write_text(SCRIPT)
    (folder / "marks").mkdir()
    process = in_processes.torchrun(folder / "script.py", folder, MARKS=str(folder / "marks"))
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 0, said
    return folder


@pytest.fixture(scope="module")
def two(folder):
    return torch.load(folder / "first.pt"), torch.load(folder / "second.pt")


def assert_same_run(found, wanted):
    assert found["samples"] == wanted["samples"] == 2 * 23
    assert found["terms"].keys() == wanted["terms"].keys()
    for curves in ("terms", "diagnostics"):
        for name in wanted[curves]:
            if name not in ("load_cv", "largest_share", "entropy_of_mean"):  # of each process's
                assert found[curves][name] == pytest.approx(wanted[curves][name], 1e-4, 1e-6), name
    assert found["metric"] == wanted["metric"]
    assert found["weights"].keys() == wanted["weights"].keys()
    for name, value in wanted["weights"].items():
        if "bert" not in name:  # where gradients are round-off, and Adam makes whole steps of them
            torch.testing.assert_close(found["weights"][name], value, **TOLERANCE, msg=name)
    torch.testing.assert_close(found["logits"], wanted["logits"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", in_processes.METHODS)
def test_two_processes_train_as_one(two, tmp_path, name):
    with one_torch_thread():
        wanted = in_processes.run(name, tmp_path)
    start = in_processes.method_of(name, *in_processes.data(name)).state_dict()
    assert any(not torch.equal(wanted["weights"][key], value) for key, value in start.items())
    assert_same_run(two[0][name], wanted)


@pytest.mark.parametrize("name", in_processes.METHODS)
def test_both_processes_end_alike(two, name):
    first, second = (each[name] for each in two)
    for key, value in first["weights"].items():
        assert torch.equal(second["weights"][key], value), key
    for curve in ("terms", "diagnostics", "metric"):
        assert first[curve] == second[curve]
    assert torch.equal(first["logits"], second["logits"])


def test_two_processes_go_on_with_the_run_of_one(two, tmp_path):
    with one_torch_thread():
        wanted = in_processes.run("single", tmp_path)
    assert_same_run(two[0]["resumed"], wanted)


def test_one_process_goes_on_with_the_run_of_two(folder, tmp_path):
    assert files.load(folder / "two" / "checkpoint.pt")["step"] == 3
    with one_torch_thread():
        found = in_processes.run("single", folder / "two", resume=True)
        wanted = in_processes.run("single", tmp_path)
    assert_same_run(found, wanted)


def test_what_processes_tell_each_other(two):
    """See `in_processes.what_is_told`."""
    first, second = (each["told"] for each in two)
    assert first["ranks"] == [0, 2]
    assert second["ranks"] == [1, 2]
    assert first["alone"] == second["alone"] == "of 0"
    assert (first["in turn"], second["in turn"]) == ("own 0, seen []", "own 1, seen ['0']")
    for kind in ("KeyError", "KeyboardInterrupt"):
        assert first[kind] == (kind, "NoneType")
        assert second[kind] == (kind, "FirstProcessFailed")
    assert first["Unsendable"] == ("Unsendable", "NoneType")
    assert second["Unsendable"] == ("RuntimeError", "FirstProcessFailed")
    assert first["Alike"] == ("Alike", "NoneType")
    assert second["Alike"] == ("Alike", "FirstProcessFailed")
    for found in (first, second):
        for n, whole in found["whole"].items():
            assert torch.equal(whole, torch.arange(2.0 * n).view(n, 2)), n
        assert found["mean"] == [1.5, 4.0]
        assert torch.equal(found["rows"], torch.arange(5.0).view(5, 1))
    assert torch.equal(first["gradient"], torch.full((2, 1), 5 / 2))
    assert torch.equal(second["gradient"], torch.full((3, 1), 5 / 3))


def test_a_loss_that_is_not_finite_in_one_process_stops_both_in_that_step(two):
    (said, cause, steps), (other, told_cause, other_steps) = (each["diverged"] for each in two)
    recipe = in_processes.RECIPE
    rows = BatchOrder(23, recipe.batch_size, recipe.epochs, recipe.seed).whole(2).tolist()
    assert f"'task' is nan at step 2, batch of samples {', '.join(map(str, rows))};" in said
    assert said == other
    assert (cause, told_cause) == ("NoneType", "FirstProcessFailed")
    assert steps == other_steps == 3


def test_only_the_first_process_writes(folder):
    written = sorted(p.name for p in (folder / "single").iterdir())
    assert written == ["checkpoint.pt"]
