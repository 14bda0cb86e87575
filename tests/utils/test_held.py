"""Output that one run at a time writes."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import hubfast
from hubfast.utils import held
from hubfast.utils.held import InUse, file_held, folder_held

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")

HOLD = """
import sys
from pathlib import Path
from hubfast.utils.held import file_held, folder_held
kind, path, end = sys.argv[1:]
try:
    with {"file": file_held, "folder": folder_held}[kind](Path(path)):
        print("held", flush=True)
        if end == "fork":
            import os
            if not os.fork():
                sys.stdin.close(); os.close(1); os.close(2)
                import time; time.sleep(60)
        if end != "at once":
            sys.stdin.read(1)
except OSError as error:
    print(error, flush=True)
"""


@pytest.fixture
def start():
    """Starts processes that hold a path, and gives each with what it says first."""
    begun = []

    def other(kind, path, end="when told"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, kind, str(path), end],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(hubfast.__file__).parents[1])},
            start_new_session=True,
        )
        begun.append(process)
        return process, process.stdout.readline().strip()

    yield other
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_second_process_is_told_which_one_is_at_it(tmp_path, start, kind):
    path = tmp_path / "out"
    first, said = start(kind, path)
    assert said == "held"
    second, said = start(kind, path)
    assert said.startswith(f"{path} is being written by a run that has not ended, process ")
    assert f"process {first.pid} on " in said
    with pytest.raises(InUse, match=f"process {first.pid} on "), HOLDERS[kind](path):
        pass
    first.communicate("x")
    assert start(kind, path, "at once")[1] == "held"
    assert second.wait() == 0


@pytest.mark.parametrize("end", ["when told", "fork"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_holds_nothing(tmp_path, start, kind, end):
    """Nor does a process that it forked and that lives on, such as one that prepares images."""
    path = tmp_path / "out"
    first, said = start(kind, path, end)
    assert said == "held"
    first.kill()
    first.wait()
    assert [*tmp_path.rglob(".*running")]
    third, said = start(kind, path, "at once")
    assert said == "held"
    assert third.wait() == 0
    assert not [*tmp_path.rglob(".*running")]


def test_what_was_not_written_to_goes_again(tmp_path):
    with folder_held(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert not [*tmp_path.iterdir()]
    with folder_held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "kept").write_text("")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "kept"]
    with file_held(tmp_path / "r.json"):
        assert [path.name for path in tmp_path.glob(".*")] == [".r.json.running"]
    assert not [*tmp_path.glob(".*")]


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(KeyError), file_held(tmp_path / "r.json"):
        raise KeyError
    assert not [*tmp_path.iterdir()]


def test_a_link_and_its_file_are_one_output(tmp_path, start):
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert start("file", tmp_path / "link")[1] == "held"
    assert "is being written" in start("file", tmp_path / "real")[1]


def test_what_is_no_plain_file_may_be_several_runs(tmp_path, start):
    assert start("file", os.devnull)[1] == "held"
    assert start("file", os.devnull)[1] == "held"


def test_a_lock_whose_file_was_removed_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """The former holder removes it between another one's opening and locking it."""
    lock, real, times = tmp_path / ".r.json.running", held.fcntl.lockf, []

    def removed_first(file, how):
        times.append(file)
        if len(times) == 1:
            lock.unlink()
        real(file, how)

    monkeypatch.setattr(held.fcntl, "lockf", removed_first)
    with file_held(tmp_path / "r.json"):
        assert len(times) == 2
        assert f"process {os.getpid()} on" in lock.read_text()


def test_without_locks_nothing_is_refused(tmp_path, monkeypatch):
    def refused(file, how):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(held.fcntl, "lockf", refused)
    with file_held(tmp_path / "r.json"):
        pass
    monkeypatch.setattr(held, "fcntl", None)
    with folder_held(tmp_path / "new"):
        pass
    assert not [*tmp_path.iterdir()]


HOLDERS = {"file": file_held, "folder": folder_held}
