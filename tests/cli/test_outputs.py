"""Where a result cannot be written, that is said before the work and not after it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hubfast
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


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("rank hub --data targets.npy --json {}", "r.json"),
        ("rank hub --data targets.npy --csv {}", "r.csv"),
        ("rank hub --data targets.npy --html {}", "r.html"),
        ("demo --target digits --json {}", "r.json"),
        ("tune --hub minihub:resnet_digits --data none.npy --output {}", "tuned"),
        ("atari --method scratch --out {}", "games"),
        ("bench ranking --demo --csv {}", "r.csv"),
        ("bench tuning --csv {}", "r.csv"),
        ("bench cost --csv {}", "r.csv"),
        ("minihub truth --csv {}", "r.csv"),
    ],
)
def test_a_second_run_with_the_same_output_is_refused_before_its_work(
    tmp_path, monkeypatch, capsys, command, output
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / output
    kind = "file_held" if path.suffix else "folder_held"
    code = f"from hubfast.utils.held import *\nwith {kind}(Path({str(path)!r})): print(); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(hubfast.__file__).parents[1])},
    )
    try:
        holder.stdout.readline()
        monkeypatch.setattr(sys, "argv", ["hubfast", *command.format(output).split(), "--quiet"])
        if command.startswith("bench cost"):
            sys.argv.pop()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    finally:
        holder.communicate(b"\n")
    said = " ".join(capsys.readouterr().err.split())
    assert stopped.value.code == 2
    assert f"{output} is being written by a run that has not ended, process {holder.pid}" in said
