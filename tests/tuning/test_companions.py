"""Processes that a training on several devices starts: how they meet, and what ends with them."""

import os
import subprocess
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from torch import distributed

from hubfast.tuning import ProcessLost, Trainer
from hubfast.tuning.companions import Companions, program

pytestmark = pytest.mark.skipif(not distributed.is_gloo_available(), reason="torch has no gloo")

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, sys, time
from hubfast.tuning import ProcessLost, Trainer, companions
companions.GRACE = 1.0
here = sys.argv[1]

def note(word, rank):
    with open(os.path.join(here, f"{word}-{rank}"), "w") as file:
        file.write(str(os.getpid()))

if __name__ == "__main__":
    with Trainer(devices=2, accelerator="cpu").processes() as processes:
        rank = processes.rank
        note("inside", rank)
        while not all(os.path.exists(os.path.join(here, f"inside-{r}")) for r in (0, 1)):
            time.sleep(0.05)
        BODY
    AFTER
"""


def started(folder: Path, body: str, after: str = "pass") -> "subprocess.Popen[str]":
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("BODY", body).replace("AFTER", after))
    return subprocess.Popen(
        [sys.executable, script, folder],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_gone(folder: Path, rank: int) -> bool:
    """Whether a process has ended within ten seconds."""
    pid = int((folder / f"inside-{rank}").read_text())
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_one_that_waits_for_ever_ends_after_the_other(tmp_path):
    """As in NCCL, which may never notice."""
    process = started(tmp_path, "time.sleep(300) if rank == 0 else os._exit(3)")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: another process of this training ended with exit code 3; this one" in said


def test_one_that_was_started_ends_after_the_first(tmp_path):
    process = started(tmp_path, "time.sleep(300) if rank == 1 else os.kill(os.getpid(), 9)")
    _, said = process.communicate(timeout=60)
    assert process.returncode == -9
    assert "error: the process that started this one has ended; this one cannot" in said
    assert is_gone(tmp_path, 1)


def test_behind_a_training_nobody_is_ended(tmp_path):
    """Whoever catches an error, or goes on by itself, goes on."""
    after = "os._exit(3) if rank else time.sleep(4); note('lives', rank)"
    process = started(tmp_path, "pass", after)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert (tmp_path / "lives-0").exists()
    assert "cannot go on" not in said


def test_a_process_that_ends_before_it_trains(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "hubfast.tuning.companions.program",
        lambda: [sys.executable, "-c", "import os; raise SystemExit(int(os.environ['RANK']) + 3)"],
    )
    before = dict(os.environ)
    with pytest.raises(ProcessLost, match=r"ended with exit code [456] before it trained"):
        Companions().start(3)
    assert dict(os.environ) == before
    with pytest.raises(ProcessLost, match=r"exit code"), Trainer(devices=2).processes():
        pytest.fail("nobody else is there")
    assert not distributed.is_initialized()


def test_processes_that_are_waited_for_in_vain_are_ended(monkeypatch, tmp_path):
    code = f"import pathlib, time; pathlib.Path({str(tmp_path)!r}, 'here').touch(); time.sleep(300)"
    monkeypatch.setattr("hubfast.tuning.companions.program", lambda: [sys.executable, "-c", code])
    children = []
    kept = subprocess.Popen

    def noted(*given, **options):
        children.append(kept(*given, **options))
        return children[-1]

    def interrupted(seconds):
        if (tmp_path / "here").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", noted)
    monkeypatch.setattr("hubfast.tuning.companions.time.sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Companions().start(1)
    assert [child.returncode for child in children] == [-9]


def test_the_program_is_what_was_started(monkeypatch, tmp_path):
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["whatever", "--a", "b c"])
    main.__spec__ = None
    with pytest.raises(ValueError, match=r"devices must be 1 in a notebook, at a prompt"):
        program()
    main.__file__ = str(tmp_path / "gone.py")
    with pytest.raises(ValueError, match=r"must be a file"):
        program()
    (tmp_path / "gone.py").touch()
    assert program() == [sys.executable, str(tmp_path / "gone.py"), "--a", "b c"]
    main.__spec__ = ModuleSpec("hubfast.__main__", None)
    assert program() == [sys.executable, "-m", "hubfast.__main__", "--a", "b c"]


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_strategies_that_fork_are_refused(strategy):
    trainer = Trainer(devices=2, accelerator="cpu", strategy=strategy)
    said = r"strategy must be one for processes that are programs"
    with pytest.raises(ValueError, match=said), trainer.processes():
        pytest.fail("nobody else is there")


def test_an_error_of_all_is_said_once_and_leaves_nobody(tmp_path):
    command = [sys.executable, "-m", "hubfast", "tune", "--hub", "minihub:resnet_digits"]
    done = subprocess.run(
        [*command, "--data", "none.npy", "--devices", "2", "--device", "cpu", "--quiet"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        cwd=tmp_path,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    assert "data not found: none.npy" in done.stderr
