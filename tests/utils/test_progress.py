"""Progress: a bar on a terminal, plain lines elsewhere, always on standard error."""

import io
import logging
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from rich.console import Console

from hubfast.utils import progress
from hubfast.utils.progress import progress_bar


def test_without_a_terminal_a_line_at_once_and_one_at_the_end(capsys):
    with progress_bar(True) as bars:
        task = bars.add_task("counting sheep", total=40)
        assert capsys.readouterr().err == "counting sheep 0/40 (0 %), 0 s\n"
        bars.advance(task, 30)
        assert capsys.readouterr() == ("", "")
        bars.update(task, description="asleep", completed=40)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "asleep 40/40 (100 %), 0 s\n")


def test_without_a_terminal_never_silent(capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    with progress_bar(True) as bars:
        bars.add_task("reading", total=None)
        time.sleep(0.4)  # nothing moves
        early = capsys.readouterr().err.splitlines()
    assert 3 <= len(early) <= 9
    assert set(early) == {"reading, 0 s"}


def test_a_task_whose_name_comes_later_is_said_then(capsys):
    with progress_bar(True) as bars:
        task = bars.add_task("", total=2)
        assert capsys.readouterr().err == ""
        bars.update(task, description="first [red]/tmp/x[/red]" + "y" * 200)
        assert capsys.readouterr().err.count("\n") == 1  # neither markup nor a line break
        bars.advance(task)
    assert "1/2 (50 %)" in capsys.readouterr().err


def test_quiet_and_done_say_nothing(capsys):
    with progress_bar(False) as bars:
        bars.add_task("unseen", total=1)
    with progress_bar(True):
        pass
    assert capsys.readouterr() == ("", "")


def test_the_end_is_said_after_an_error_too(capsys):
    def divide():
        with progress_bar(True) as bars:
            bars.advance(bars.add_task("dividing", total=2))
            return 1 / 0

    with pytest.raises(ZeroDivisionError):
        divide()
    assert capsys.readouterr().err.splitlines()[-1] == "dividing 1/2 (50 %), 0 s"


def test_track_counts(capsys):
    with progress_bar(True) as bars:
        assert list(bars.track("abc", description="letters")) == ["a", "b", "c"]
    assert capsys.readouterr().err.splitlines()[-1].startswith("letters 3/3 (100 %)")


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_log_of_continuous_integration_gets_lines(name, capsys, monkeypatch):
    monkeypatch.setenv(name, "1")
    with progress_bar(True) as bars:
        bars.add_task("building", total=1)
    assert re.sub(r"\x1b\[\d*m", "", capsys.readouterr().err).startswith("building 0/1")


ON_A_TERMINAL = """
import logging, sys, warnings
from hubfast.utils.progress import progress_bar
before = logging.StreamHandler()  # holds the terminal itself
logging.getLogger("some.library").addHandler(before)
held = before.stream
with progress_bar(True) as bars:
    task = bars.add_task("working", total=2)
    bars.advance(task)
    logging.getLogger("some.library").warning("weights look odd")
    warnings.warn("a warning")
    bars.advance(task)
assert before.stream is held, "the handler has its stream again"
print("result")
"""


def test_on_a_terminal_log_lines_do_not_tear_the_bar():
    """Every line that the terminal receives is a bar or a whole message, never both."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    run = subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL],
        stdout=subprocess.PIPE,
        stderr=slave,
        env=environment,
        text=True,
    )
    os.close(slave)
    received = os.read(master, 1 << 16).decode()
    os.close(master)
    assert (run.returncode, run.stdout) == (0, "result\n")
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", received).replace("\r", "\n").split("\n")
    assert "working" in received
    assert "weights look odd" in lines
    assert any(line.endswith("UserWarning: a warning") for line in lines)
    for line in lines:
        assert "working" not in line or re.fullmatch(r"working [━╸╺ ]+ \d/2 \S+", line.rstrip())


def test_a_notebook_has_a_bar_and_no_table():
    for jupyter, parts in ((True, 1), (False, 2)):
        bars = progress._Bar("{task.description}", console=Console(force_jupyter=jupyter))
        bars.show("a table")
        assert len(list(bars.get_renderables())) == parts


def test_a_task_may_know_the_time_left(capsys):
    left = [None, 75.4]
    with progress_bar(True) as bars:
        task = bars.add_task("racing", total=4, left=left.pop, at_most=True)
        bars.update(task, completed=2)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "racing 0/4 (0 %), 0 s, at most 75 s left"
    assert last == "racing 2/4 (50 %), 0 s"
    column = progress._TimeLeftColumn()
    for left, at_most, text in (
        (75.4, True, "at most 0:01:15"),
        (None, True, "-:--:--"),
        (9, False, "0:00:09"),
    ):
        bars = progress_bar(False)
        bars.add_task("x", left=lambda left=left: left, at_most=at_most)
        assert column.render(bars.tasks[0]).plain == text


def test_handlers_of_files_are_left_alone(capsys):
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    log = logging.getLogger("hubfast.test")
    log.addHandler(handler)
    try:
        with progress_bar(True) as bars:
            bars.add_task("working", total=1)
            log.warning("kept")
    finally:
        log.removeHandler(handler)
    assert text.getvalue() == "kept\n"
