"""Where a result cannot be written, that is said before the work and not after it."""

import errno
import os
import sys
from pathlib import Path

import pytest

from hubfast import cli
from hubfast.cli import output
from hubfast.cli.output import check_output_folder, check_outputs

RANK = ("rank", "hub", "--data", "targets.npy")
BENCH = ("bench", "ranking")
COMMANDS = [
    *((*RANK, option, "r") for option in ("--json", "--csv", "--html")),
    *(("demo", option, "r") for option in ("--json", "--csv", "--html")),
    *((*BENCH, option, "r") for option in ("--json", "--csv")),
    *(("bench", "tuning", option, "r") for option in ("--results", "--csv")),
    ("bench", "cost", "--csv", "r"),
    ("minihub", "truth", "--csv", "r"),
    ("tune", "--hub", "hub", "--data", "targets.npy", "--output", "out"),
    ("atari", "--out", "out"),
]


def full(*arguments, **keywords):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "name of a file made up here")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk_is_told_before_anything_is_read(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "TemporaryFile", full)
    monkeypatch.setattr(sys, "argv", ["hubfast", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = " ".join(capsys.readouterr().err.split())
    assert said == "error: nothing can be written to the folder .: No space left on device"
    assert stopped.value.code == 2
    assert [*tmp_path.iterdir()] == []


def test_outputs_that_can_be_written_leave_no_trace(tmp_path):
    former = tmp_path / "former.json"
    former.write_text("kept")
    (tmp_path / "link.csv").symlink_to(former)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    before = sorted(tmp_path.iterdir())
    check_outputs(former, None, tmp_path / "new.html", pipe)
    check_outputs(tmp_path / "link.csv", tmp_path / "other.csv")
    check_output_folder(tmp_path)
    check_output_folder(tmp_path / "made" / "later")
    assert sorted(tmp_path.iterdir()) == before
    assert former.read_text() == "kept"


def test_two_outputs_in_one_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="each output must have a file of its own"):
        check_outputs(tmp_path / "r.json", None, (tmp_path / "r.json").relative_to(tmp_path))


def test_a_file_above_an_output_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="which is a file"):
        check_output_folder(tmp_path / "file" / "out")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        check_outputs(tmp_path / "none" / "r.json")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a folder that takes no file")
def test_a_real_folder_that_takes_no_file():
    with pytest.raises(OSError, match="nothing can be written to the folder /proc/self: "):
        check_outputs(Path("/proc/self/r.json"))
    with pytest.raises(OSError, match="nothing can be written to the folder /proc/self: "):
        check_output_folder(Path("/proc/self/out"))
