"""An error is one line and an exit code; `--debug` shows the traceback."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hubfast import cli
from hubfast.cli.faults import told, without_debug
from hubfast.utils.terminal import error_console, output_console


@pytest.fixture
def hubfast(monkeypatch, capsys, tmp_path):
    """Runs the command in this process, in a folder with a hub of features and their targets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    targets = np.arange(60) % 3
    np.save("targets.npy", targets)
    Path("hub").mkdir()
    rng = np.random.default_rng(0)
    np.save("hub/a.npy", rng.normal(size=(60, 4)) + np.eye(3, 4)[targets])
    np.save("hub/b.npy", rng.normal(size=(60, 4)))

    def run(*arguments, code):
        monkeypatch.setattr(sys, "argv", ["hubfast", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        assert (stopped.value.code or 0) == code, captured
        assert "Traceback" not in captured.err
        return captured

    return run


def raised(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            ValueError("top must be at least 1,\n got 0"),
            2,
            "error: --top must be at least 1, got 0",
        ),
        (TypeError("hub must hold models"), 2, "error: hub must hold models"),
        (FileNotFoundError(2, "No such file", "x"), 2, "error: [Errno 2] No such file: 'x'"),
        (ModuleNotFoundError("needs onnx"), 2, "error: needs onnx"),
        (FloatingPointError("loss term is nan"), 1, "error: loss term is nan"),
        (MemoryError(), 1, "error: memory ran out: MemoryError"),
        (RuntimeError("[/red] odd"), 70, "for the traceback: RuntimeError: [/red] odd"),
        (KeyError("x"), 70, "error: this is a fault of hubfast, run again with --debug"),
        (AssertionError(), 70, "for the traceback: AssertionError"),
        (RecursionError("deep"), 70, "for the traceback: RecursionError: deep"),
        (ZeroDivisionError(), 70, "for the traceback: ZeroDivisionError"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_any_error_is_one_line(capsys, monkeypatch, error, code, said, debug):
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as stopped, told(debug):
        raised(error)()
    assert stopped.value.code == code
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[-1]
    assert len(lines) == 1 or debug
    assert ("Traceback (most recent call last):" in lines) == debug


def test_a_type_error_that_nobody_meant_is_hubfasts_own(capsys):
    for body in ("len(None)", "int('x')", "a, b = 1, 2, 3", "1 + 'a'"):
        space = {"__name__": "hubfast.somewhere"}
        exec(f"def run(): {body}", space)
        with pytest.raises(SystemExit) as stopped, told(debug=False):
            space["run"]()
        assert stopped.value.code == 70
        assert "this is a fault of hubfast" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(4)])
def test_interrupts_and_exits_pass(error):
    with pytest.raises(type(error)), told(debug=False):
        raised(error)()


def test_debug_may_stand_anywhere_but_behind_two_dashes():
    assert without_debug(["--debug", "rank", "x"]) == (["rank", "x"], True)
    assert without_debug(["rank", "x", "--debug"]) == (["rank", "x"], True)
    assert without_debug(["rank", "--", "--debug"]) == (["rank", "--", "--debug"], False)
    assert without_debug([]) == ([], False)


def test_the_command_knows_debug(hubfast):
    assert "--debug" in hubfast("--help", code=0).out
    assert "must be a size" in hubfast("cache", "prune", "--max-size", "x", code=2).err


MARKS = ["[/red]", "[bold]x[/bold]", "[/]", "[red", "\\[a]", ":smile:", "[@click=x]y"]


@pytest.mark.parametrize("name", MARKS)
def test_markup_is_text(hubfast, name):
    entry = {"model": "hub/a.npy", "name": name, "note": f"note {name}", "licence": name}
    failing = {"model": "none.npy", "name": f"none {name}"}
    Path("hub.yaml").write_text(json.dumps({"models": [entry, "hub/b.npy", failing]}))
    shown = hubfast("rank", "hub.yaml", "--data", "targets.npy", "--html", "r.html", code=0)
    assert f" {name} " in shown.out
    assert f"note {name}" in shown.out
    assert f"failed: none {name}: " in shown.out
    assert f"none {name} failed" in shown.err
    options = ("--metric", "--device", "--budget", "--memory", "--cache-dir")
    for option in options[:-1]:
        told = hubfast("rank", "hub", "--data", "targets.npy", option, name, "--quiet", code=2)
        assert repr(name) in told.err or name in told.err
    assert f"data not found: {name}" in hubfast("rank", "hub", "--data", name, code=2).err


@pytest.mark.parametrize("name", MARKS)
def test_consoles_take_text_as_it_is(capsys, name):
    output_console().print(name)
    error_console().print(name)
    assert capsys.readouterr() == (f"{name}\n", f"{name}\n")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("name: true", "name of model 1 of hub.yaml must be text, got True (bool)"),
        ("name: 12", "name of model 1 of hub.yaml must be text, got 12 (int)"),
        ("name: 1.5", "name of model 1 of hub.yaml must be text, got 1.5 (float)"),
        ("name: 2020-01-01", "name of model 1 of hub.yaml must be text, got datetime.date"),
        ("name: [a]", "name of model 1 of hub.yaml must be text, got ['a'] (list)"),
        ("name: ''", "name of model 1 of hub.yaml must not be empty, got ''"),
        ("note: {a: b}", "note of model 1 of hub.yaml must be text, got {'a': 'b'} (dict)"),
        ("licence: no", "licence of model 1 of hub.yaml must be text, got False (bool)"),
        ("1: 2, a: b", "model 1 of hub.yaml may have the keys"),
        ("preprocessing: [a]", "preprocessing of model 1 of hub.yaml must be a table"),
        ("imagenet: .inf", "imagenet of model 1 of hub.yaml must be a percentage, got inf"),
    ],
)
def test_entries_of_hub_files_are_checked(hubfast, entry, said):
    Path("hub.yaml").write_text(f"models: [{{model: hub/a.npy, {entry}}}]")
    assert said in hubfast("rank", "hub.yaml", "--data", "targets.npy", "--quiet", code=2).err


DEVICES = ["foo", "", " ", "cuda:x", "cuda:-1", "cpu:-1", "-1", "CPU", "meta", "9" * 400]


@pytest.mark.parametrize("device", DEVICES)
def test_devices_that_are_none(hubfast, device):
    for command in (("rank", "hub"), ("tune", "--hub", "minihub:resnet_digits")):
        arguments = (*command, "--data", "targets.npy", f"--device={device}", "--quiet")
        if command[0] == "tune" and device.lower() == "cpu":
            continue
        assert "device must be" in hubfast(*arguments, code=2).err


def test_a_gpu_that_is_not_there(hubfast, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    tune = ("tune", "--hub", "minihub:resnet_digits", "--data", "targets.npy")
    for command in (("rank", "hub", "--data", "targets.npy"), tune):
        told = hubfast(*command, "--device", "cuda", "--quiet", code=2)
        assert "device 'cuda' is not there: torch sees no GPU" in told.err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.json", '{"format": "hubfast.Ranking/1"}', "r.json must have 'models'"),
        ("r.json", '{"format": "hubfast.Ranking/1"', "r.json must be JSON and cannot be read"),
        ("r.json", "[]", "r.json does not hold hubfast.Ranking/1"),
        ("r.json", "[" * 10**5, "r.json must be nested at most 64 levels"),
        ("r.json", '{"format": "hubfast.Ranking/1", "models": [1]}', "entry 1 in models of r.json"),
    ],
)
def test_ranking_files_that_are_none(hubfast, name, content, said):
    Path(name).write_text(content)
    Path("truth.csv").write_text("model,data,accuracy\na,targets,1\nb,targets,2\n")
    assert said in hubfast("bench", "ranking", "truth.csv", "--ranking", name, code=2).err


@pytest.mark.parametrize("weight", ["inf", "nan", "-inf"])
def test_weights_that_are_no_numbers(hubfast, weight):
    images = np.zeros((12, 8, 8, 3), np.uint8)
    np.savez("images.npz", images=images, targets=np.arange(12) % 2)
    arguments = ("--hub", "minihub:resnet_digits", "--data", "images.npz", f"--weight={weight}")
    told = hubfast("tune", *arguments, "--quiet", code=2)
    assert "weight" in told.err


@pytest.mark.parametrize(
    "targets", [np.ones(12), np.zeros(12), np.c_[np.arange(12.0), np.ones(12)]]
)
def test_constant_targets_leave_nothing_to_learn(hubfast, targets):
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    np.savez("images.npz", images=images, targets=targets)
    arguments = ("--hub", "minihub:resnet_digits", "--data", "images.npz", "--quiet")
    for method in ("single", "b-tuning", "l2-sp"):
        told = hubfast("tune", *arguments, "--method", method, "--top", "1", code=2)
        assert "targets for regression must vary, got" in told.err


@pytest.mark.parametrize("lines", ["null", "1\n2", "[]", '"a"', "{}", "hello", '{"recipe": 1}'])
def test_results_of_junk_lines(hubfast, lines):
    Path("t.jsonl").write_text(lines + "\n")
    told = hubfast("bench", "tuning", "--results", "t.jsonl", "--method", "single", code=2)
    assert "line 1 of t.jsonl must" in " ".join(told.err.split())
    assert Path("t.jsonl").read_text() == lines + "\n"


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x05\x06" + b"\0" * 18, b"\0" * 4096])
def test_a_trusted_program_that_is_none(hubfast, content):
    images = np.zeros((12, 8, 8, 3), np.uint8)
    np.savez("images.npz", images=images, targets=np.arange(12) % 2)
    Path("x.pt2").write_bytes(content)
    data = ("--data", "images.npz", "--quiet", "--trust")
    told = hubfast("rank", "export:x.pt2", *data, code=1)
    assert "failed: export:x.pt2: ValueError: x.pt2 cannot be read as a program" in told.out


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["data", "features"])
def test_a_truncated_npz(hubfast, share, kind):
    np.savez("whole.npz", images=np.zeros((60, 9, 9, 3)), targets=np.arange(60) % 3)
    content = Path("whole.npz").read_bytes()
    Path("x.npz").write_bytes(content[: int(len(content) * share)])
    if kind == "data":
        assert (
            "x.npz cannot be read as arrays"
            in hubfast("rank", "hub", "--data", "x.npz", code=2).err
        )
    else:
        told = hubfast("rank", "x.npz", "--data", "targets.npy", code=1)
        assert "x.npz must hold arrays of numbers and cannot be read" in told.out


@pytest.mark.parametrize("shape", [(60, 0), (0, 0), (60, 2, 0)])
def test_targets_without_columns(hubfast, shape):
    for dtype in (float, int):
        np.save("y.npy", np.zeros(shape, dtype))
        assert "targets for " in hubfast("rank", "hub", "--data", "y.npy", "--quiet", code=2).err


def test_workers_beyond_the_machine_are_fewer(monkeypatch):
    from hubfast.utils import threads

    monkeypatch.setattr(threads, "cores", lambda: 2)
    assert threads.worker_processes(3) == 3
    with pytest.warns(UserWarning, match="workers is 16, not 100,000: 8 for each core"):
        assert threads.worker_processes(100_000) == 16
