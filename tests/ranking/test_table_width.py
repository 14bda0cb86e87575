"""Tables of rankings fit the terminal, and are whole where there is none."""

import re
from dataclasses import replace

import pytest
from rankings import ranking, several
from rich.console import Console

from hubfast.ranking.rows import RankedModel
from hubfast.scores.registry import SCORES
from hubfast.utils.names import printable, shortened
from hubfast.utils.terminal import WideTable

METRICS = tuple(SCORES)
LONG_ERROR = "RuntimeError: " + "the weights do not fit the network " * 6


def named(content, length):
    """With names of this length that differ in their beginnings."""
    ends = "_convnext_base.fb_in22k_ft_in1k_" + "abcdefghij" * 4
    models = [
        m if m.score is None else replace(m, name=f"n{i}{ends}"[:length])
        for i, m in enumerate(content)
    ]
    return replace(content, models=tuple(models), extra={})


def printed(content, width):
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(content)
    return captured.get()


def contents():
    for count in (3, 40):
        for length in (8, 60):
            for metrics in (1, 2, 4, 14):
                made = ranking(count) if metrics == 1 else several(count, METRICS[:metrics])
                yield pytest.param(named(made, length), id=f"{count}x{length}x{metrics}")


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("content", [*contents()])
def test_every_model_is_one_line_of_the_terminal(content, width):
    lines = printed(content, width).splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if re.match(r" +\d+=?  n\d", line)]
    assert len(rows) == len(content.scored)
    starts = [line.split()[1] for line in rows]
    assert len(set(starts)) == len(starts)  # shortened names stay different
    for line, m in zip(rows, content.scored, strict=True):
        assert f"{m.score:.4f}" in line.split()
        head, _, tail = line.split()[1].partition("…")
        assert m.name.startswith(head)
        assert m.name.endswith(tail)


@pytest.mark.parametrize("content", [*contents()])
def test_without_a_terminal_nothing_is_left_out(content, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = str(content).splitlines()
    header = next(line for line in lines if "model" in line.split())
    assert header.split()[-3:] == ["D", "params", "seconds"]
    rows = [line.split() for line in lines if re.match(r" +\d+=?  n\d", line)]
    assert [row[1] for row in rows] == [m.name for m in content.scored]
    # place, name, score, "± 0.0150", the metrics, and D, params, seconds
    assert {len(row) for row in rows} == {5 + len(content.metrics) + 3}


def test_columns_go_before_the_interval_and_names():
    content = named(ranking(3), 20)
    headers = {}
    for width in (80, 60, 50, 40):
        lines = printed(content, width).splitlines()
        headers[width] = next(line.split() for line in lines if "model" in line.split())
    assert headers[80] == ["#", "model", "logme", "95", "%", "D", "params", "seconds"]
    assert headers[60] == ["#", "model", "logme", "95", "%", "D", "params"]
    assert headers[50] == ["#", "model", "logme", "95", "%"]
    assert headers[40] == ["#", "model", "logme"]
    assert "±.015" in printed(named(ranking(3), 24), 48)


def test_metrics_that_have_no_column_have_a_table():
    content = named(several(5, METRICS[:6]), 12)
    narrow = printed(content, 80)
    assert "by each score alone" in narrow
    best = content.by("logme")[0]
    row = next(line for line in narrow.splitlines() if line.lstrip().startswith("logme "))
    assert row.split()[1:3] == [best.name, f"{best.score:.4g}"]
    assert "by each score alone" not in printed(content, 200)


def test_errors_and_notes_break_at_words():
    failed = RankedModel("gone", error=LONG_ERROR)
    content = replace(ranking(2), models=(*ranking(2).models, failed), notes=("uneven " * 30,))
    lines = printed(content, 80).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("failed: gone"))
    words = " ".join(lines[start:]).split()
    assert {*LONG_ERROR.split(), "uneven"} <= {*words}
    wide = printed(content, 10_000)
    assert f"failed: gone: {LONG_ERROR.strip()}" in wide


def test_names_are_text_and_not_markup():
    content = replace(ranking(2), data="[red]set[/red]")
    first = replace(content.models[0], name="[/bold]x[1]")
    shown = printed(replace(content, models=(first, *content.models[1:])), 100)
    assert "[/bold]x[1]" in shown
    assert "[red]set[/red]" in shown


@pytest.mark.parametrize(
    ("names", "room", "shown"),
    [
        (["short"], 10, ["short"]),
        (["abcdefghijkl"], 7, ["abcd…kl"]),
        # The usual gap would make these equal: it moves.
        (["aaaaaa1bbbbbb", "aaaaaa2bbbbbb"], 9, ["…a1bbbbbb", "…a2bbbbbb"]),
        (["特徴特徴特徴特徴"], 9, ["特徴特…徴"]),
        (["x"], 1, ["x"]),
        (["xyz"], 1, ["…"]),
    ],
)
def test_shortened_names(names, room, shown):
    assert shortened(names, room) == shown


def test_printable_names():
    assert printable("a\nb\x07c\udcff") == "a b\N{REPLACEMENT CHARACTER}c?"


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_columns_without_room_go_on_below(width):
    titles = ["model", *(f"target number {i}" for i in range(9))]
    rows = [[f"model_{r}", *(f"{r}.{i}0 ± 0.01" for i in range(9))] for r in range(3)]
    lines = printed(WideTable(titles, rows, title="accuracies"), width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("accuracies" in line for line in lines) == 1
    for r in range(3):
        own = [line.removeprefix(" ") for line in lines if f"model_{r} " in line]
        assert re.findall(r"\d\.\d0 ± 0\.01", " ".join(own)) == rows[r][1:]
    assert (sum("model_0" in line for line in lines) == 1) == (width == 200)
