"""Where results and messages are written: as wide as the terminal, or as the content.

No text is read as rich's markup or as names of emoji: `[/red]` and `:smile:` are names like others.
"""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

UNLIMITED = 10_000  # columns of a file or a pipe
HEADER = 12  # columns of a line of a header


def output_console() -> Console:
    """Standard output. `COLUMNS` in the environment bounds the width everywhere."""
    bounded = "COLUMNS" in os.environ or (sys.stdout is not None and sys.stdout.isatty())
    return _console(width=None if bounded else UNLIMITED)


def error_console() -> Console:
    """Standard error: on a terminal lines break between words, elsewhere nowhere."""
    console = _console(stderr=True, highlight=False)
    console.soft_wrap = not console.is_terminal
    return console


def show_any_text() -> None:
    """Lets standard output take what its encoding has no bytes for, as standard error does.

    Names of files that are not UTF-8 have such characters.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def as_text(content: RenderableType) -> str:
    """What rich would print on standard output, without colours."""
    console = _console(width=output_console().width, color_system=None)
    with console.capture() as captured:
        console.print(content)
    return captured.get()


def natural_width(table: Table) -> int:
    """Columns of a table where there is room for any; its title and caption do not count."""
    told, table.title, table.caption = (table.title, table.caption), None, None
    width = _console(width=UNLIMITED).measure(table).maximum
    table.title, table.caption = told
    return width


def header(title: str) -> Text:
    """A header in lines of a few columns, broken behind spaces and underscores."""
    lines: list[str] = []
    line = ""
    for part in title.replace(" ", " \0").replace("_", "_\0").split("\0"):
        if line and cell_len((line + part).rstrip()) > HEADER:
            lines, line = [*lines, line.rstrip()], ""
        line += part
    return Text("\n".join([*lines, line.rstrip()]))


class WideTable:
    """Rows of text that have names; columns without room go on in a table below.

    Args:
        titles: Titles of all columns; the first is that of the names, which every table repeats.
        rows: Each holds as many texts as there are titles.
        title: Stands above the first table.
        box: One of rich's boxes.
    """

    def __init__(
        self,
        titles: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        title: str | None = None,
        box: Box | None = None,
    ):
        self.titles, self.rows, self.title, self.box = titles, rows, title, box

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.parts(options.max_width)

    def parts(self, width: int) -> Iterator[Table]:
        """The tables that are shown below each other."""
        first, last, title = 1, len(self.titles), self.title
        while first < last:
            stop = first + 1
            while stop < last and natural_width(self._part(first, stop + 1)) <= width:
                stop += 1
            part = self._part(first, stop)
            part.title = title
            yield part
            first, title = stop, None

    def _part(self, first: int, stop: int) -> Table:
        shown = [0, *range(first, stop)]
        table = Table(box=self.box)
        for i in shown:
            justify = "right" if i else "left"
            table.add_column(header(self.titles[i]), justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for row in self.rows:
            table.add_row(*(Text(row[i]) for i in shown))
        return table


def _console(**options: Any) -> Console:
    return Console(markup=False, emoji=False, **options)
