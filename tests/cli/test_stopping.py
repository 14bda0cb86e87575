"""A command that is told to stop shows what it has."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer

import hubfast
from hubfast.cli.stopping import stopping
from hubfast.cli.threads import let_idle_threads_sleep

HUB = """
import os, signal, sys, torch
from hubfast.hub import sources
from hubfast.cli import main
def told(rows):
    for _ in range({times}):
        os.kill(os.getpid(), signal.{name})
    return torch.eye(30)[:, :5][rows[:, 0].long()]
expand = sources._expand
sources._expand = lambda spec, loading: (
    [sources.as_source(told)] if spec == "told" else expand(spec, loading)
)
sys.argv = ["hubfast", "rank", "a.npy", "told", "a.npy", "--data", "y.npy", "--json", "r.json"]
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(("name", "times", "code"), [("SIGTERM", 1, 143), ("SIGINT", 2, 130)])
def test_rank_shows_and_writes_what_is_done(tmp_path, name, times, code):
    targets = np.arange(30) % 3
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(30, 4)))
    np.savez(tmp_path / "y.npz", images=np.arange(30.0)[:, None], targets=targets)
    script = HUB.format(name=name, times=times).replace("y.npy", "y.npz")
    root = str(Path(hubfast.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == code, done.stderr
    assert "logme of 3 models" in done.stdout
    assert "1  a " in done.stdout
    assert done.stdout.count("not run: interrupted") == 2
    assert '"a"' in (tmp_path / "r.json").read_text()


def test_a_second_signal_right_behind_the_first_is_the_same_wish():
    raised = 0

    def work(told):
        nonlocal raised
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raised += 1
        signal.raise_signal(signal.SIGTERM)
        told.show()
        signal.raise_signal(signal.SIGINT)

    def command():
        with stopping() as told:
            work(told)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(typer.Exit) as stopped:
        command()
    assert (raised, stopped.value.exit_code) == (1, 143)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_later_signal_stops_what_did_not_stop(monkeypatch):
    clock = iter([10.0, 10.5, 12.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    def command():
        with stopping():
            for _ in range(3):  # a library that swallows the first
                try:
                    signal.raise_signal(signal.SIGINT)
                except KeyboardInterrupt:
                    seen.append(1)

    seen = []
    with pytest.raises(typer.Exit):
        command()
    assert len(seen) == 2


def test_nothing_to_show_is_said(capsys):
    def command():
        with stopping():
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(typer.Exit) as stopped:
        command()
    assert stopped.value.exit_code == 143
    assert "before there was anything to show" in capsys.readouterr().err


def test_no_signal_no_exit():
    with stopping() as told:
        told.show()
    assert told.code == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "100"}, {"GOMP_SPINCOUNT": "100"}),
    ],
)
def test_threads_sleep_unless_the_user_says_how_they_wait(given, expected):
    environment = dict(given)
    let_idle_threads_sleep(environment)
    assert environment == expected


def test_the_command_line_says_it_before_torch_is_there():
    code = (
        "import os, sys; from hubfast import cli; cli.app = lambda **given: print("
        "os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules); cli.main()"
    )
    environment = {k: v for k, v in os.environ.items() if "OMP" not in k and "KMP" not in k}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "PASSIVE False\n"
