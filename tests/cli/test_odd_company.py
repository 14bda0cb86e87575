"""Commands under settings of the system that are not the usual ones."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hubfast

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ROOT = str(Path(hubfast.__file__).parents[1])


@pytest.fixture
def folder(tmp_path):
    targets = np.arange(60) % 3
    np.save(tmp_path / "targets.npy", targets)
    (tmp_path / "hub").mkdir()
    rng = np.random.default_rng(0)
    for name in ("ä[bold]", "b"):
        np.save(tmp_path / "hub" / f"{name}.npy", rng.normal(size=(60, 4)) + np.eye(3, 4)[targets])
    return tmp_path


def run(folder, *arguments, settings=None, code=None):
    return subprocess.run(
        [sys.executable, *(("-m", "hubfast") if code is None else ("-c", code)), *arguments],
        cwd=folder,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": ROOT, **(settings or {})},
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are UTF-8")
@pytest.mark.parametrize(
    "settings", [{**ASCII, "PYTHONOPTIMIZE": "2"}, {"PYTHONWARNINGS": "error", "COLUMNS": "40"}]
)
def test_rank_writes_all_files(folder, settings):
    files = ["--html", "r.html", "--json", "r.json", "--csv", "r.csv"]
    done = run(folder, "rank", "hub", "--data", "targets.npy", *files, settings=settings)
    assert done.returncode == 0, done.stderr
    assert {row["name"][-6:] for row in json.loads((folder / "r.json").read_text())["models"]} == {
        "[bold]",
        "b",
    }
    names = pd.read_csv(folder / "r.csv")["model"]
    assert sorted(name[-6:] for name in names) == ["[bold]", "b"]
    assert "[bold]" in (folder / "r.html").read_text()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a stream that takes nothing")
def test_files_are_written_though_the_terminal_takes_nothing(folder):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "hubfast", "rank", "hub", "--data", "targets.npy"),
                *("--json", "r.json", "--quiet"),
            ],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": ROOT},
        )
    assert done.returncode == 2
    assert b"No space left on device" in done.stderr
    assert len(json.loads((folder / "r.json").read_text())["models"]) == 2


SIGNALLED = """
import os, signal, sys
from hubfast import bench, cli
from hubfast.bench import cost
def counting():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    finally:
        print("cleaned up")
cost.cost_rows = counting
sys.argv = ["hubfast", "bench", "cost"]
cli.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_sigterm_ends_any_command_as_ctrl_c_does(folder):
    done = run(folder, code=SIGNALLED)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout == b"cleaned up\n"
    assert b"Traceback" not in done.stderr
