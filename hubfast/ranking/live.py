"""The models of a ranking as a table on the terminal while they run."""

import time
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from hubfast.ranking.places import descending
from hubfast.ranking.watch import UNDER_WAY, Doing, Watch, WatchedModel
from hubfast.utils.names import printable, shortened
from hubfast.utils.terminal import natural_width

STYLES: dict[Doing, str] = {
    "loading": "cyan",
    "running": "bold cyan",
    "accepted": "green",
    "done": "green",
    "undecided": "yellow",
    "dropped": "dim",
    "failed": "red",
}
ORDER: tuple[Doing, ...] = ("accepted", "waiting", "undecided", "done", "dropped")
NAME = 12  # columns that a name has at least, if it needs as many
FAILURES = 3  # number of failures that have a line
AROUND = 4  # lines beside the models: title, header, bar, and the cursor's
IDLE = 20  # times as long as drawing took, nothing is drawn again: models need the processor


class LiveTable:
    """As many models as the terminal has lines, those that run and the best ones first.

    Args:
        watch: What is shown.
        title: What is ranked, and by what.
    """

    def __init__(self, watch: Watch, title: str):
        self.watch, self.title = watch, title
        self._lines: list[list[Segment]] = []
        self._drawn = (-1, 0, 0)  # changes, width and height that these lines are of
        self._again = 0.0  # when they may be drawn again

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # The terminal is drawn anew several times a second, the table only where it has changed.
        size, begun = (options.max_width, console.height), time.perf_counter()
        changed = self._drawn[0] != self.watch.changes and begun >= self._again
        if changed or self._drawn[1:] != size:
            self._drawn = (self.watch.changes, *size)
            content = self.content(*size)
            self._lines = console.render_lines(content, options.update(height=None), pad=False)
            now = time.perf_counter()
            self._again = now + IDLE * (now - begun)
        for line in self._lines:
            yield from line
            yield Segment.line()

    def content(self, width: int, height: int) -> RenderableType:
        """The lines for a terminal of this size."""
        models = [m for m in self.watch.models if m.doing != "failed"]
        failures = [m for m in self.watch.models if m.doing == "failed"]
        models.sort(key=_importance)
        told = [*_failures(failures, width, min(FAILURES, max(height // 6, 1)))]
        room = max(height - AROUND - len(told), 1)
        if len(models) > room:
            hidden = models[max(room - 1, 1) :]
            models = models[: max(room - 1, 1)]
            told.insert(0, Text(f"and {len(hidden)} more", style="dim"))
        return Group(self._title(width), self._table(models, width), *told)

    def _title(self, width: int) -> Text:
        """The fullest one that fits."""
        rules, counts = self.watch.rules, self.watch.counts()
        top = "" if rules is None else f"top {rules.top} of {len(self.watch.models)}"
        race = f"race for the {top}: {counts}"
        if rules is None:
            lines = [f"{self.title}: {counts}", counts]
        else:
            accepted = sum(model.doing == "accepted" for model in self.watch.models)
            short = f"{top}: {accepted} accepted"
            lines = [f"{self.title}, {race}", race, f"{top}: {counts}", short, top]
        fitting = [line for line in map(printable, lines) if cell_len(line) <= width]
        line = fitting[0] if fitting else shortened(lines[-1:], width)[0]
        return Text(line, style="bold", no_wrap=True)

    def _table(self, models: Sequence[WatchedModel], width: int) -> Table:
        for columns in _columns(models, self.watch):
            room = width - natural_width(_made(models, columns, [""] * len(models)))
            room += cell_len("model")
            longest = max((cell_len(printable(m.name)) for m in self.watch.models), default=0)
            if room >= min(longest, NAME):
                break
        short = shortened([m.name for m in self.watch.models], max(room, 1))
        names = dict(zip(self.watch.models, short, strict=True))
        return _made(models, columns, [names[m] for m in models])


def _importance(model: WatchedModel) -> tuple[object, ...]:
    running = model.doing in UNDER_WAY
    return not running, 0 if running else ORDER.index(model.doing), *descending(model.score)


Columns = list[tuple[str, list[str]]]


def _columns(models: Sequence[WatchedModel], watch: Watch) -> Iterator[Columns]:
    """The columns behind the name, from all to the most important ones."""
    states = ("", [str(m.doing) for m in models])
    seen = (f"of {watch.total:,}", [f"{m.samples:,}" for m in models])
    title = f"score of {watch.scored_of:,}" if watch.scored_of else "score"
    scores = (title, ["" if m.score is None else f"{m.score:.4f}" for m in models])
    halves = ("\N{PLUS-MINUS SIGN}", [_half_width(m) for m in models])
    if any(halves[1]):
        yield [states, seen, scores, halves]
    if any(scores[1]):
        yield [states, seen, scores]
        yield [states, scores]
    else:
        yield [states, seen]
    yield [states]


def _made(models: Sequence[WatchedModel], columns: Columns, names: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("model", no_wrap=True)
    for title, _ in columns:
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for i, model in enumerate(models):
        cells = map(Text, (names[i], *(cells[i] for _, cells in columns)))
        table.add_row(*cells, style=STYLES.get(model.doing, ""))
    return table


def _half_width(model: WatchedModel) -> str:
    if model.low is None or model.high is None or model.low == model.high:
        return ""
    return f"{(model.high - model.low) / 2:.4f}"


def _failures(models: Sequence[WatchedModel], width: int, most: int) -> Iterator[Text]:
    for model in models[:most]:
        name = shortened([model.name], max(width // 3, 1))[0]
        line = Text(printable(f"failed: {name}: {model.why}"), style="red", no_wrap=True)
        line.truncate(width, overflow="ellipsis")
        yield line
    if len(models) > most:
        yield Text(f"and {len(models) - most} more failed", style="red", no_wrap=True)
