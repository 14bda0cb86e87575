"""Shell completion: the script that typer writes, and what we complete."""

import pytest
from typer.testing import CliRunner

from hubfast.cli import app
from hubfast.cli.completion import complete_data, complete_metric, complete_model
from hubfast.cli.names import model_kinds
from hubfast.hub import loaders


def asked(**environment):
    """What the command prints when the shell asks it, as the shell does."""
    return CliRunner().invoke(app, [], prog_name="hubfast", env=environment).stdout


def complete(line):
    """What bash offers for the last word of a line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    return asked(_HUBFAST_COMPLETE="complete_bash", **words).split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_gets_a_script(shell):
    assert "_HUBFAST_COMPLETE" in asked(_HUBFAST_COMPLETE=f"source_{shell}")


def test_bash_completes_commands_and_scores():
    assert "rank" in complete("hubfast ra")
    assert complete("hubfast rank minihub --metric linear") == ["linear_probe"]


def test_the_kinds_of_models_are_those_that_have_loaders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no files to complete
    assert model_kinds() == loaders.KINDS
    kinds = complete_model("")
    assert [kind.rstrip(":") for kind in kinds] == [*loaders.KINDS]
    assert "minihub" in kinds


def test_bash_completes_methods_wherever_one_is_asked_for():
    assert complete("hubfast tune --method zoo-") == ["zoo-lite"]
    assert complete("hubfast bench tuning --method l2") == ["l2-sp"]


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
