"""A ranking as tables for a terminal: what does not fit its width is left out, never wrapped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hubfast.ranking.order import RankedModels
from hubfast.ranking.rows import RankedModel
from hubfast.utils.durations import in_words
from hubfast.utils.names import printable, shortened
from hubfast.utils.terminal import header, natural_width

PLACES = {"undecided": "?", "dropped": "-"}  # in a race, of models without one
SAID = {
    "accepted": "places are by estimates",
    "undecided": "? is undecided",
    "dropped": "- is dropped",
}  # what these marks mean
STAGES = ("load", "prepare", "forward", "score")
OPTIONAL = (
    "seconds",
    "D",
    "params",
    "licence",
    "expected",
    "point",
)  # left out first, in this order
DATA = 8  # columns that the name of the data has at least, if it needs as many
NAME = 24  # columns that a name has at least, if it needs as many
BEST = ("best", "second", "third")


@dataclass(frozen=True)
class _Layout:
    """Which columns a table has."""

    metrics: Sequence[str]
    optional: Sequence[str] = ()
    interval: Literal["long", "short", "none"] = "long"
    extra: bool = True


@dataclass(frozen=True)
class _Column:
    title: str
    cells: list[str]
    left: bool = False


def ranking_tables(ranking: RankedModels, width: int | None) -> list[Table]:
    """Makes the table of scored models, and one of what each metric says if that has no columns.

    Args:
        ranking: What to show.
        width: Columns of the terminal; None for as many as are needed.
    """
    for layout in _layouts(ranking):
        columns = _columns(ranking, layout)
        rest = natural_width(_table(ranking, columns, [""] * len(ranking.scored), width))
        rest -= cell_len("model")
        names = [m.name for m in ranking.scored]
        longest = max((cell_len(printable(name)) for name in names), default=0)
        room = longest if width is None else max(width - rest, 1)
        if room >= min(longest, NAME):
            break
    tables = [_table(ranking, columns, shortened(names, room), width)]
    if not layout.metrics and ranking.metrics:
        tables.append(_by_metric(ranking, width))
    return tables


def _layouts(ranking: RankedModels) -> Iterator[_Layout]:
    """Layouts from the fullest to the barest."""
    rows = ranking.scored
    rare = {
        "licence": any(m.licence for m in rows),
        "expected": any(m.expected for m in rows),
        "point": any(m.point for m in rows),
    }
    there = [c for c in OPTIONAL if rare.get(c, True)]
    for metrics in dict.fromkeys((tuple(ranking.metrics), ())):
        for left_out in range(len(there) + 1):
            yield _Layout(metrics, there[left_out:])
        yield _Layout(metrics, interval="short")
    yield _Layout((), interval="none")
    yield _Layout((), interval="none", extra=False)


def _columns(ranking: RankedModels, layout: _Layout) -> list[_Column]:
    """All columns but the place and the name."""
    rows = ranking.scored
    columns = [_Column(ranking.metric, [f"{m.score:.4f}" for m in rows])]
    if layout.interval != "none":
        short = layout.interval == "short"
        columns.append(_Column("95 %", [_half_width(m, short) for m in rows]))
    if ranking.race is not None:
        columns.append(_Column("samples", [_number(m.samples, ",d") for m in rows]))
    for metric in layout.metrics:
        scores = [m.scores[metric] for m in rows]
        cells = ["-" if s.void else _number(s.score, ".4g") for s in scores]
        columns.append(_Column(metric, cells))
    for title, values in ranking.extra.items() if layout.extra else ():
        columns.append(_Column(title, [_number(values.get(m.name), ".3f") for m in rows]))
    optional = {
        "point": _Column("point", [m.point or "-" for m in rows], left=True),
        "expected": _Column("expected", [_number(_foreseen(m), ".3f") for m in rows]),
        "D": _Column("D", [_number(m.width, "d") for m in rows]),
        "params": _Column("params", [_millions(m.parameters) for m in rows]),
        "seconds": _Column("seconds", [f"{m.seconds.total:.2f}" for m in rows]),
        "licence": _Column("licence", [printable(m.licence) or "-" for m in rows], left=True),
    }
    return columns + [column for name, column in optional.items() if name in layout.optional]


def _table(
    ranking: RankedModels, columns: Sequence[_Column], names: Sequence[str], width: int | None
) -> Table:
    table = Table(title=_title(ranking, width), box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("model", no_wrap=True)
    for column in columns:
        side: Literal["left", "right"] = "left" if column.left else "right"
        table.add_column(header(printable(column.title)), justify=side, no_wrap=True)
    for i, (place, m) in enumerate(zip(ranking.places, ranking.scored, strict=False)):
        cells = (column.cells[i] for column in columns)
        shown = (
            PLACES.get(m.standing, "-") if place is None else f"{place}{'=' * (m.tied and i > 0)}"
        )
        table.add_row(shown, *map(Text, (names[i], *cells)), style="bold" if m.tied else "")
    return table


def _by_metric(ranking: RankedModels, width: int | None) -> Table:
    """The best models by each of the metrics, where these are too many for columns."""
    alone = [ranking.by(metric) for metric in ranking.metrics]
    scores = [[f" {m.score:.4g}" for m in one.ranked[: len(BEST)]] for one in alone]
    widest = max((cell_len(score) for row in scores for score in row), default=0)
    names = [printable(m.name) for m in ranking]
    for count in range(len(BEST), 0, -1):
        rest = natural_width(_metric_table(alone, [[""] * count for _ in alone]))
        rest -= sum(map(cell_len, BEST[:count]))
        room = max(map(cell_len, names), default=0)
        if width is not None:
            room = min(room, max((width - rest) // count - widest, 1))
        short = dict(zip(names, shortened(names, room), strict=True))
        if room >= min(max(map(cell_len, names), default=0), NAME // 2):
            break
    cells = [
        [f"{short[printable(m.name)]}{score}" for m, score in zip(one.ranked, row, strict=False)]
        for one, row in zip(alone, scores, strict=True)
    ]
    return _metric_table(alone, [(row + [""] * count)[:count] for row in cells])


def _metric_table(alone: Sequence[RankedModels], cells: Sequence[Sequence[str]]) -> Table:
    table = Table(title="by each score alone", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("score", no_wrap=True)
    for title in BEST[: len(cells[0])]:
        table.add_column(title, no_wrap=True)
    table.add_column(header("not told apart"), justify="right", no_wrap=True)
    for one, row in zip(alone, cells, strict=True):
        tied = str(sum(m.tied for m in one)) if one.ranked else "-"
        table.add_row(one.metric, *map(Text, row), tied)
    return table


def shown(ranking: RankedModels, width: int) -> Iterator[RenderableType]:
    """Gives the tables of a ranking, and the lines below them, for a terminal of this width."""
    first, *others = ranking_tables(ranking, width)
    title = _title(ranking, width)
    if title.cell_len > natural_width(first):  # it would be broken to the width of the table
        first.title = None
        yield title
    yield from (first, *others)
    yield from _below(ranking)


def _below(ranking: RankedModels) -> Iterator[Text]:
    ties = sum(m.tied for m in ranking.models)
    if ties > 1:
        yield _said(f"{ties} models are not distinguishable from the best (=, bold)")
    if ranking.race is not None:
        yield from map(_said, ranking.race.lines(len(ranking), len(ranking.ranked)))
        standings = {m.standing for m in ranking.scored}
        marks = [said for standing, said in SAID.items() if standing in standings]
        if marks:
            yield _said("; ".join(marks))
    if line := ranking.foreseen():
        yield _said(line)
    spent = {name: sum(getattr(m.seconds, name) for m in ranking.models) for name in STAGES}
    split = {"read": ranking.reading, **spent}.items()
    yield _said("time: " + ", ".join(f"{name} {_seconds(value)}" for name, value in split))


def _said(line: str) -> Text:
    return Text(f" {line}", style="table.caption")


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 90 else in_words(value)


def _title(ranking: RankedModels, width: int | None) -> Text:
    """The title; where it is too long, the name of the data is shortened."""
    before = f"{ranking.metric} of {len(ranking)} models on "
    after = f" ({ranking.samples:,} samples)"
    room = cell_len(ranking.data) if width is None else width - cell_len(before + after)
    data = shortened([ranking.data], max(room, DATA))[0]
    return Text(f"{before}{data}{after}", style="table.title")


def _half_width(m: RankedModel, short: bool) -> str:
    """Half the width of the interval; `to_frame` and the report have both of its ends."""
    if m.low is None or m.high is None:
        return "-"
    half = (m.high - m.low) / 2
    return f"±{half:.2g}".replace("±0.", "±.") if short else f"± {half:.4f}"


def _foreseen(m: RankedModel) -> float | None:
    return None if m.expected is None else m.expected.value


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _millions(parameters: int | None) -> str:
    return "-" if parameters is None else f"{parameters / 1e6:.2f}M"
