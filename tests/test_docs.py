"""The documentation: its tutorial runs, its site builds, every score has a page."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hubfast.cli import app
from hubfast.scores.registry import SCORES

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def test_tutorial_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for language, text in BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text()):
        match language:
            case "python":
                exec(compile(text, "tutorial.md", "exec"), namespace)
            case "yaml":
                Path("hub.yaml").write_text(text)
            case "sh":
                _, *arguments = shlex.split(text)
                done = CliRunner().invoke(app, [*arguments, "--quiet"])
                assert done.exit_code == 0, done.output
            case _:
                pytest.fail(f"a block of {language!r}")
    ranking, several = namespace["ranking"], namespace["several"]
    assert ranking.top(1) == several.top(1) == ["resnet_digits"]
    assert namespace["broken"].name in ranking.notes[0]
    assert {m.error for m in several.models} == {None}
    shapes = next(m for m in namespace["again"] if m.name == "shapes")
    assert (shapes.licence, shapes.note) == ("MIT", "drawn shapes, no digits")
    assert [m.name for m in namespace["again"].failed] == ["no-such-model"]
    assert Path("report.html").stat().st_size > 10_000
    assert "no-such-model" in capsys.readouterr().out


def test_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]  # quiet, it counts no warning
    done = subprocess.run(
        [*command, "--site-dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "scores" / "logme" / "index.html").read_text()
    assert "mean over target columns of max log-evidence" in page  # from the docstring


def test_every_score_has_a_page():
    pages = {path.stem for path in (ROOT / "docs" / "scores").glob("*.md")} - {"index", "consensus"}
    assert pages == {score.page or score.name for score in SCORES.values()}
    for page in pages:
        text = (ROOT / "docs" / "scores" / f"{page}.md").read_text()
        for part in ("## Formula", "## Source", "## When it misleads", "::: hubfast.scores."):
            assert part in text, (page, part)


def test_every_command_explains_itself():
    """`--help` is enough to work with: no command or option without a sentence."""
    import click
    from typer.main import get_command

    def check(command, path):
        assert command.help, path
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            for name, sub in command.commands.items():
                check(sub, f"{path} {name}")
        for parameter in command.params:
            if parameter.name not in ("help", "install_completion", "show_completion"):
                assert getattr(parameter, "help", None), f"{path} {parameter.name}"

    check(get_command(app), "hubfast")
