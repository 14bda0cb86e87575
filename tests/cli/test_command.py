"""Errors of the command line's parser say what was given."""

import sys

import pytest
import typer

from hubfast import cli
from hubfast.cli.command import Command

FOR_TUNE = ["tune", "--hub", "minihub", "--data", "d"]


def leaves(command):
    inner = getattr(command, "commands", None)
    return [command] if inner is None else [x for each in inner.values() for x in leaves(each)]


def test_all_commands_do():
    assert {type(each) for each in leaves(typer.main.get_command(cli.app))} >= {Command}
    assert all(isinstance(each, Command) for each in leaves(typer.main.get_command(cli.app)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*FOR_TUNE, "--top", "x"], "got 'x'"),
        ([*FOR_TUNE, "--top="], "got ''"),
        ([*FOR_TUNE, "--top", "a"], "got 'a'"),  # which the rest of the message holds, too
        ([*FOR_TUNE, "--top", "[/red]"], "got '[/red]'"),
        ([*FOR_TUNE, "--epochs", "0"], "got '0'"),
        ([*FOR_TUNE, "--validation", "2"], "got '2'"),
        ([*FOR_TUNE, "--lr", "one"], "got 'one'"),
        ([*FOR_TUNE, "--size", "x" * 5000], f"got '{'x' * 50}"),
        (["bench", "tuning", "--share", "0.01", "--share", "1"], "got ['0.01', '1']"),
        (["rank", "hub", "--data", "d", "--ray", "--samples", "two"], "got 'two'"),
        (["atari", "--frames", "1e999"], "got '1e999'"),
        (["minihub", "truth", "--seeds", "nan"], "got 'nan'"),
        (["cache", "verify", "--none"], "No such option: --none"),
        (["bench", "ranking", "none.csv"], "'none.csv' does not exist"),
        (["rank", "hub"], "Missing option '--data'"),
    ],
)
def test_what_was_given_is_said(monkeypatch, capsys, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr(sys, "argv", ["hubfast", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in told
    assert told.count(", got ") <= 1
    assert len(told) < 5000
