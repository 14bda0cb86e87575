"""Shell completion: the script that typer writes, and what we complete."""

import os
import subprocess
import sys

import pytest

from hubfast.cli.completion import complete_data, complete_metric, complete_model


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_gets_a_script(shell):
    environment = {**os.environ, "_HUBFAST_COMPLETE": f"source_{shell}"}
    code = "import sys; sys.argv = ['hubfast']; from hubfast.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert "_HUBFAST_COMPLETE" in done.stdout, done.stderr


def complete(line):
    """What bash offers for a line whose last word is being typed."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "_HUBFAST_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "import sys; sys.argv = ['hubfast']; from hubfast.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    return done.stdout.split()


def test_bash_completes_commands_and_scores():
    assert "rank" in complete("hubfast ra")
    assert complete("hubfast rank minihub --metric linear") == ["linear_probe"]


def test_names_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "a.onnx").write_text("")
    (tmp_path / "hub.yaml").write_text("")
    assert complete_metric("h") == ["h_score"]
    assert complete_model("to") == ["torchhub:"]
    assert "minihub:resnet_digits" in complete_model("minihub:res")
    assert "timm:resnet18.a1_in1k" in complete_model("timm:resnet18")
    assert complete_model("onnx:z") == ["onnx:zoo/"]
    assert complete_model("onnx:zoo/") == ["onnx:zoo/a.onnx"]
    assert complete_model("hub.") == ["hub.yaml"]
    assert complete_model(f"onnx:{tmp_path}/zoo/a") == [f"onnx:{tmp_path}/zoo/a.onnx"]
    assert complete_model("nowhere/x") == []
    assert "minihub:handwritten" in complete_data("minihub:h")
    assert complete_data("hf") == ["hfdata:"]
