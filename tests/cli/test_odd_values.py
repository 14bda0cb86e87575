"""Every option of every command is given odd values: a line and exit code 0, 1 or 2, never more."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import typer
from command_line import odd_place, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubfast import cli

# What makes a command valid, and end before it trains anything.
USUAL = {
    "rank": ["hub", "--data", "targets.npy", "--quiet"],
    "tune": ["--hub", "minihub:resnet_digits", "--data", "none.npy", "--quiet"],
    "demo": ["--target", "nowhere", "--quiet"],
    "info": [],
    "atari": ["--method", "none", "--quiet"],
    "minihub list": [],
    "minihub build": ["--quiet"],
    "minihub truth": ["nowhere", "--quiet"],
    "bench ranking": ["truth.csv", "--quiet"],
    "bench tuning": ["--target", "nowhere", "--quiet"],
    "bench cost": [],
    "cache ls": ["--cache-dir", "kept"],
    "cache verify": ["--cache-dir", "kept"],
    "cache prune": ["--max-size", "1G", "--cache-dir", "kept"],
    "cache path": ["--cache-dir", "kept"],
}
TRAINING = ("minihub build", "minihub truth", "demo", "bench tuning", "bench ranking", "atari")
ODD = [
    *(
        "",
        " ",
        "-",
        "--",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-1",
        "0",
        "1",
        "0.5",
        "1e-320",
        "9" * 400,
    ),
    *(
        "-" + "9" * 400,
        str(2**63),
        str(2**64),
        "true",
        "null",
        "1,2",
        "[/red]",
        "[bold]x",
        ":smile:",
    ),
    *(
        "..",
        "hub",
        "targets.npy",
        "targets.npy/x",
        "no/where",
        "/dev/null",
        "x" * 5000,
        "\u202e",
        "é",
    ),
    *("timm:", "onnx:[", "*", "[", "?", "hf:", "minihub:", "hfdata:", "cuda", "cuda:99", "cpu:-1"),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/~\\"), max_size=12)
NUMBERS = st.integers().map(str) | st.floats().map(str)
VALUES = st.sampled_from(ODD) | TEXT | NUMBERS


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The commands that do something, by what one writes."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path), command
        return
    for name, each in inner.items():
        yield from leaves(each, (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(cli.app)))
TAKING = [  # options and arguments that take a value
    pytest.param(name, parameter.opts[0], id=f"{name} {parameter.opts[0]}")
    for name, command in COMMANDS.items()
    for parameter in command.params
    if not getattr(parameter, "is_flag", False)
]


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory):
    with odd_place(tmp_path_factory) as (place, patch):
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr("hubfast.bench.cost.cost_rows", list)  # which takes seconds
        patch.setattr("hubfast.hub.reach.unreachable_host", lambda *given: "the hub")
        # What tune starts again for a second device is the tests.
        nothing = [sys.executable, "-c", "raise SystemExit(4)"]
        patch.setattr("hubfast.tuning.companions.program", lambda: nothing)
        targets = np.arange(30) % 3
        np.save("targets.npy", targets)
        (place / "hub").mkdir()
        for seed in range(2):
            features = np.random.default_rng(seed).normal(size=(30, 3)) + np.eye(3)[targets]
            np.save(f"hub/{seed}.npy", features)
        rows = ["model,data,accuracy,s", "a,d,1,1", "b,d,2,3", "c,d,3,2"]
        (place / "truth.csv").write_text("\n".join(rows))
        yield place


def test_every_command_has_a_usual_call():
    assert {*USUAL} == {*COMMANDS}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("command", "name"), TAKING)
@given(value=VALUES)
@settings(deadline=None, max_examples=7, suppress_health_check=list(HealthCheck), database=None)
def test_no_value_of_an_option_is_too_odd(command, name, value):
    given = [f"{name}={value}"] if name.startswith("--") else ["--", value]
    code, said = run([*command.split(), *USUAL[command], *given])
    assert code in (0, 1, 2), said
    assert "Traceback" not in said
    assert "this is a fault of hubfast" not in said
    assert said.strip() or code == 0


@pytest.mark.parametrize("command", COMMANDS)
@given(words=st.lists(VALUES, max_size=4))
@settings(deadline=None, max_examples=5, suppress_health_check=list(HealthCheck), database=None)
@pytest.mark.filterwarnings("ignore")
def test_no_words_behind_a_command_are_too_odd(command, words):
    if command in TRAINING:
        words = [*words, "--no-such-option"]  # without words these train for minutes
    code, said = run([*command.split(), *words])
    assert code in (0, 1, 2, 130), said
    assert "Traceback" not in said
    assert "this is a fault of hubfast" not in said
