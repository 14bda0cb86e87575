"""What a ranking shows while it runs: a table on a terminal, plain lines elsewhere."""

import math
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import watched
from rich.console import Console
from watched import go_on, watch_of, watched_race

from hubfast import as_source, rank
from hubfast.ranking import live
from hubfast.ranking import watch as watching
from hubfast.ranking.live import LiveTable
from hubfast.ranking.rows import RankedModel
from hubfast.ranking.scoring import Outcome
from hubfast.ranking.verdict import Rules, Standing, Verdict
from hubfast.scores.streamed import Scored
from hubfast.utils.progress import progress_bar


def shown(table, width, height):
    console = Console(width=width, height=height, color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(table)
    return captured.get().splitlines()


def doing(lines):
    """The number of each model, what it is doing, and the other cells."""
    words = "loading|running|waiting|accepted|dropped|done"
    found = [re.match(rf"n(\d+)\S* +({words})(.*)", line) for line in lines]
    return [(int(m[1]), m[2], m[3].split()) for m in found if m]


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes by hand."""
    hand = SimpleNamespace(now=0.0)
    monkeypatch.setattr(watching, "time", SimpleNamespace(perf_counter=lambda: hand.now))
    return hand


@pytest.mark.parametrize("height", [5, 10, 24, 60])
@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize(("count", "length"), [(6, 8), (12, 60), (40, 60)])
def test_fits_the_terminal(count, length, width, height):
    lines = shown(
        LiveTable(watched_race(count, length=length), f"logme of {count} models"), width, height
    )
    assert max(map(len, lines)) <= width
    rows = doing(lines)
    assert len(lines) < height - 1 or len(rows) == 1  # the bar comes below
    first = {line.split()[0] for line in lines if re.match(r"n\d", line)}
    assert len(first) == len(rows)  # shortened names stay different
    hidden = count - 1 - len(rows)  # one has failed
    assert [line for line in lines if line.startswith("and")] == [f"and {hidden} more"] * (
        hidden > 0
    )
    assert lines[-1].startswith("failed: n")


def test_running_and_best_models_come_first():
    lines = shown(LiveTable(watched_race(8), "logme of 8 models"), 80, 24)
    assert lines[0] == "race for the top 3 of 8: 1 accepted, 5 to go, 1 dropped, 1 failed"
    assert doing(lines) == [
        (1, "running", ["512", "0.7100", "0.0200"]),
        (0, "accepted", ["512", "0.7200", "0.0200"]),
        *((i, "waiting", ["512", f"{0.72 - i / 100:.4f}", "0.0200"]) for i in (2, 3, 4, 5)),
        (7, "dropped", ["512", "0.6500", "0.0200"]),
    ]
    assert lines[1].split() == ["model", "of", "1,000", "score", "±"]
    assert lines[-1].startswith("failed: n6_convnext_: OutOfMemoryError: no room for 12 MiB more")
    assert lines[-1].endswith("…")
    assert len(lines[-1]) == 80


def test_columns_that_have_no_room_are_left_out():
    table = LiveTable(watched_race(8, length=30), "logme of 8 models")
    headers = {width: shown(table, width, 24)[1].split() for width in (80, 40, 30, 20)}
    assert headers[80] == ["model", "of", "1,000", "score", "±"]
    assert headers[40] == ["model", "of", "1,000", "score"]
    assert headers[30] == ["model", "score"]
    assert headers[20] == ["model"]


def test_scores_so_far_are_said_to_be_of_as_many_samples():
    """In a ranking that is no race, models are scored on the first block, and at the end."""
    watch = watch_of(["a", "b", "c"])
    a, b, c = watch.models
    for name in "abc":
        go_on(watch, name)
    row = RankedModel("a")
    influence = torch.tensor([1.0, -1.0] * 64)
    watch.scored(a.run, Outcome(row, {"logme": Scored(0.5, influence, 128)}))
    watch.scored(b.run, Outcome(row, {"logme": Scored(0.75, influence, 128)}))
    watch.scored(c.run, Outcome(replace(row, error="ValueError: odd")))
    lines = shown(LiveTable(watch, "logme of 3 models"), 80, 24)
    assert lines[1].split() == ["model", "of", "1,000", "score", "of", "128", "±"]
    assert [line.split()[:4] for line in lines[2:4]] == [
        ["b", "waiting", "128", "0.7500"],
        ["a", "waiting", "128", "0.5000"],
    ]
    assert a.low < 0.5 < a.high
    assert a.high - a.low == pytest.approx(2 * 1.96 / math.sqrt(128), rel=0.2)
    assert lines[4] == "failed: c: ValueError: odd"
    watch.scored(
        a.run,
        Outcome(row, {"logme": Scored(0.5, influence, 128), "knn": Scored(1, influence, 128)}),
    )
    assert a.score == 0.5  # a consensus is not known


def test_many_failures_do_not_push_the_models_out():
    watch = watch_of([f"n{i}" for i in range(30)])
    for i in range(20):
        go_on(watch, f"n{i}", error="ValueError: odd")
    lines = shown(LiveTable(watch, "logme of 30 models"), 80, 24)
    assert lines[0] == "logme of 30 models: 10 to go, 20 failed"
    assert lines[-4:] == [
        *(f"failed: n{i}: ValueError: odd" for i in range(3)),
        "and 17 more failed",
    ]
    assert len(doing(lines)) == 10


def test_what_a_model_is_doing():
    watch = watch_of("ab")
    a, b = watch.models
    assert (a.doing, b.doing) == ("waiting", "waiting")
    watch.begin(a.run)
    assert a.doing == "loading"
    a.run.loaded = object()
    watch.loaded()
    assert a.doing == "running"
    a.run.done, a.run.computed = 1, 128
    watch.advanced(128)
    watch.end(a.run)
    assert (a.doing, a.samples) == ("waiting", 128)
    go_on(watch, "b", kept=True)  # not even loaded
    assert (b.doing, b.samples) == ("waiting", 128)
    for _ in range(3):
        go_on(watch, "a")
    assert (a.doing, a.samples) == ("done", 1000)
    watch.begin(a.run)  # its scores are computed
    watch.end(a.run)
    assert a.doing == "done"
    go_on(watch, "b", error="E: x")
    assert (b.doing, b.why, b.samples) == ("failed", "E: x", 128)


def test_a_model_that_is_loaded_for_its_score_alone_is_done_once(capsys):
    with progress_bar(True) as bars:
        watch = watch_of("a", bars=bars)
        for _ in range(4):
            go_on(watch, "a", kept=True)
        run = watch.models[0].run
        watch.begin(run)
        run.loaded = object()
        watch.loaded()
        assert watch.models[0].doing == "done"
        watch.end(run)
    assert capsys.readouterr().err.count("a has seen all") == 1


def test_a_model_that_begins_again_has_seen_nothing():
    bars = progress_bar(False)
    watch = watch_of("a", bars=bars)
    go_on(watch, "a")
    assert bars.tasks[0].completed == 128
    run = watch.models[0].run
    watch.begin(run)
    run.done = 0  # its weights were others
    watch.end(run)
    assert watch.models[0].samples == 0
    assert bars.tasks[0].completed == 0


def test_time_left_by_hand(clock):
    watch = watch_of("abc")
    a, b, _ = (model.run for model in watch.models)
    assert watch.seconds_left() is None
    watch.begin(a)
    clock.now = 7.0  # loading does not count
    a.loaded = object()
    watch.loaded()
    clock.now += 1.28
    a.done, a.computed = 1, 128
    watch.advanced(128)
    # 10 ms for a sample; the others are taken to be as fast.
    assert watch.seconds_left() == pytest.approx(8.72 + 10 + 10)
    clock.now += 0.5
    assert watch.seconds_left() == pytest.approx(8.72 + 10 + 10 - 0.5)
    watch.end(a)
    b.loaded = object()
    watch.begin(b)
    clock.now += 3.84
    b.done, b.computed = 1, 128
    watch.advanced(128)
    watch.end(b)
    assert watch.seconds_left() == pytest.approx(8.72 + 3 * 8.72 + 20)
    b.error = "E: x"
    watch.begin(b)
    watch.end(b)
    assert watch.seconds_left() == pytest.approx(8.72 + 20)


def test_time_left_counts_reading_once_and_kept_outputs_by_themselves(clock):
    watch = watch_of("ab")
    a, feed = watch.models[0].run, watch._feed
    a.loaded = object()
    watch.begin(a)
    clock.now, feed.seconds = 1.28 + 2.56, 2.56
    a.done, a.computed = 1, 128
    watch.advanced(128)
    assert watch.seconds_left() == pytest.approx(8.72 + 10 + 0.02 * 872)
    clock.now += 0.128
    a.done = 2  # kept by an earlier run: it says nothing of those that are not
    watch.advanced(128)
    watch.end(a)
    assert watch.seconds_left() == pytest.approx(7.44 + 10 + 0.01 * 744)


def test_time_left_counts_the_loading_of_models_that_have_seen_nothing(clock):
    watch = watch_of("abc")
    a = watch.models[0].run
    a.spent.load = 6.0
    watch.begin(a)
    clock.now = 1.28
    a.done, a.computed = 1, 128
    watch.advanced(128)
    watch.end(a)
    assert watch.seconds_left() == pytest.approx(8.72 + 2 * (10 + 6))
    go_on(watch, "b", kept=True)  # in no time, and not loaded: nothing was run
    assert watch.seconds_left() == pytest.approx(8.72 + 0 + 5 + 6)


def test_time_left_is_within_the_budget(clock):
    watch = watch_of("ab", budget=5.0)
    watch.begin(watch.models[0].run)
    clock.now = 1.28
    watch.models[0].run.computed = watch.models[0].run.done = 1
    watch.advanced(128)
    assert 0 < watch.seconds_left() <= 5


def test_models_that_stop_leave_less_to_do():
    bars = progress_bar(False)
    watch = watched_race(6, bars=bars)
    assert bars.tasks[0].total == 512 + 128 + 512 + 3 * 1000
    assert bars.tasks[0].completed == 5 * 512 + 128
    assert watch.counts() == "1 accepted, 3 to go, 1 dropped, 1 failed"


def test_plain_lines_tell_of_models_and_looks(capsys):
    with progress_bar(True) as bars:
        watch = watched_race(5, bars=bars)
        watch.end(watch.models[1].run)
        watch.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "models 0/5000 (0 %), 0 s"
    assert lines[1].startswith(
        "n3_convnext_ failed after 128 of 1,000 samples: OutOfMemoryError: no"
    )
    assert lines[1].count("more") == 30  # whole in a pipe
    assert lines[2] == "look 3 at 512 of 1,000 samples: 1 accepted, 2 to go, 1 dropped, 1 failed"
    assert re.fullmatch(r"models 2176/3152 \(69 %\), 0 s(, at most 0 s left)?", lines[3])
    assert len(lines) == 4


def test_plain_lines_tell_of_models_that_are_done(capsys):
    with progress_bar(True) as bars:
        watch = watch_of("ab", bars=bars)
        for _ in range(4):
            go_on(watch, "b")
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "b has seen all 1,000 samples"


def test_quiet_is_silent(capsys):
    with progress_bar(False) as bars:
        watch = watched_race(5, bars=bars)
        bars.show(LiveTable(watch, ""))
        watch.close()
    assert capsys.readouterr() == ("", "")


def test_a_race_that_is_over_leaves_nobody_waiting():
    watch = watch_of("ab", rules=Rules(1))
    standings = (Standing("a", "in", 1000, 4, 0.5), Standing("b", "in", 1000, 4, 0.5))
    watch.looked(Verdict(1000, 4, standings, True, "all 1,000 samples were seen"))
    assert [m.doing for m in watch.models] == ["undecided", "undecided"]
    assert watch.models[0].score == 0.5


def test_drawn_only_where_something_has_changed_and_never_all_the_time(monkeypatch):
    hand = SimpleNamespace(now=0.0)
    watch = watch_of("ab")
    table = LiveTable(watch, "logme of 2 models")
    drawn = []
    content = table.content

    def slow(width, height):
        drawn.append((width, height))
        hand.now += 0.02
        return content(width, height)

    monkeypatch.setattr(table, "content", slow)
    monkeypatch.setattr(live, "time", SimpleNamespace(perf_counter=lambda: hand.now))
    for _ in range(3):
        shown(table, 80, 24)
    assert drawn == [(80, 24)]
    go_on(watch, "a")
    shown(table, 80, 24)
    assert len(drawn) == 1  # too early
    shown(table, 60, 24)
    assert drawn[1:] == [(60, 24)]  # a terminal of another size is drawn at once
    hand.now += 0.5
    go_on(watch, "a")
    assert "512" not in "".join(shown(table, 60, 24))
    assert "256" in "".join(shown(table, 60, 24))
    assert len(drawn) == 3


def test_a_ranking_tells_of_its_looks(capsys):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, 600)
    signal = np.eye(4)[targets] @ rng.normal(size=(4, 8))
    features = [(1 - 0.3 * i) * signal + rng.normal(size=(600, 8)) for i in range(4)]
    hub = [
        as_source(lambda rows, x=x: x[rows[:, 0].long()], name=f"n{i}")
        for i, x in enumerate(features)
    ]
    hub[3] = as_source(lambda rows: 1 / 0, name="n3")
    data = torch.arange(600)[:, None].float(), targets
    found = rank(hub, data, race=True, top=1, cache=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "models 0/2400 (0 %), 0 s"
    told = [line for line in lines[1:-1] if " s" not in line.removesuffix(" s left")[-5:]]
    assert told[0].startswith("n3 failed after 0 of 600 samples: ZeroDivisionError")
    looks = [look.samples for look in found.race.looks]
    assert [line.split(" of 600 samples: ")[0] for line in told[1:]] == [
        f"look {i} at {n}" for i, n in enumerate(looks, 1)
    ]
    assert told[-1].endswith("1 accepted, 2 dropped, 1 failed")
    seen = sum(m.samples for m in found.scored)
    assert lines[-1].startswith(f"models {seen}/{seen} (100 %)")
    rank(hub, data, race=True, top=1, cache=False, progress=False)
    assert capsys.readouterr() == ("", "")


ON_A_TERMINAL = """
import logging, sys, time
sys.path.insert(0, sys.argv[1])
from watched import go_on, watch_of
from hubfast.ranking.live import LiveTable
from hubfast.ranking.verdict import Rules
from hubfast.utils.progress import progress_bar
log = logging.getLogger("mine")
log.addHandler(logging.StreamHandler())
names = [f"convnext_base.fb_in22k_ft_in1k_number_{i}" for i in range(8)]
with progress_bar(True) as bars:
    watch = watch_of(names, rules=Rules(2), bars=bars)
    bars.show(LiveTable(watch, "logme of 8 models"))
    for name in names:
        go_on(watch, name, error="MemoryError: no room for it " * 20 if name[-1] == "6" else "")
        watch.begin(watch.models[0].run)
        time.sleep(0.15)
        log.warning("a line of mine")
        print("a line of another", file=sys.stderr)
print("result")
"""


def received(script, columns, lines):
    """What the terminal gets of standard error, and standard output."""
    master, slave = pty.openpty()
    size = {"COLUMNS": str(columns), "LINES": str(lines)}
    environment = {**os.environ, "TERM": "xterm-256color", **size}
    parts = []

    def read():
        with suppress(OSError):  # the other end is closed
            while part := os.read(master, 1 << 16):
                parts.append(part)

    reader = Thread(target=read)
    reader.start()
    command = [sys.executable, "-c", script, str(Path(watched.__file__).parent)]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=slave, env=environment, text=True)
    os.close(slave)
    reader.join()
    os.close(master)
    assert run.returncode == 0
    return b"".join(parts).decode(), run.stdout


def test_on_a_terminal_nothing_tears_the_table():
    text, output = received(ON_A_TERMINAL, 50, 10)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", plain)]
    assert max(map(len, lines)) <= 50
    for said in ("a line of mine", "a line of another"):
        assert lines.count(said) == 8
    for line in lines:
        assert "a line of" not in line or line in ("a line of mine", "a line of another")
    assert any(re.match(r"convnext_bas\S*…\S* +running +\d", line) for line in lines)
    assert any(re.fullmatch(r"[━╸╺ ]+\d+% at most \d:\d\d:\d\d", line) for line in lines)
    assert "and 3 more" in lines
    assert any(line.startswith("failed: convnext") and line.endswith("…") for line in lines)
    assert output == "result\n"
