"""`hubfast cache`: what is kept of models that were run."""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from hubfast.cli.command import Command
from hubfast.utils.names import shortened
from hubfast.utils.sizes import parse_size
from hubfast.utils.terminal import natural_width, output_console

if TYPE_CHECKING:
    from hubfast.extraction.cache import Cache
    from hubfast.extraction.entry import CachedFile

app = typer.Typer(
    help="What is kept of models that were run, so that nothing is computed twice.",
    no_args_is_help=True,
)
Folder = Annotated[
    Path | None,
    typer.Option("--cache-dir", help="Where it is kept; the folder that path prints."),
]
UNITS = ("", "k", "M", "G", "T")
TITLES = ("model", "entries", "size", "last used")
DAMAGED = "(damaged: hubfast cache verify)"
OTHERS = "(no model's own)"


@app.command("ls", cls=Command)
def list_cache(cache_dir: Folder = None) -> None:
    """List what is kept of each model, the last used first."""
    cache = _opened(cache_dir)
    files = list(cache.entries())
    console = output_console()
    if files:
        console.print(_table(files, console.width))
    _say(f"{_counted(len(files), sum(file.size for file in files))} in {cache.folder}")


@app.command(cls=Command)
def verify(cache_dir: Folder = None) -> None:
    """Read all that is kept, and delete what is damaged. Exit code 1 if anything was."""
    cache = _opened(cache_dir)
    damaged = cache.verify()
    for line in damaged:
        _say(line)
    files = list(cache.entries())
    _say(f"{_counted(len(files), sum(file.size for file in files))} whole in {cache.folder}")
    if damaged:
        raise typer.Exit(1)


@app.command(cls=Command)
def prune(
    max_size: Annotated[str, typer.Option(help="What may stay: 10G, 500M, 0.")],
    cache_dir: Folder = None,
) -> None:
    """Delete what was unused for longest, until the rest is small enough.

    What was used in the last hour stays in any case, and so does what was used since the first of
    the processes began that still use the cache.
    """
    size = parse_size(max_size, "max_size", least=0)
    done = _opened(cache_dir).prune(size)
    _say(f"{_counted(done.deleted, done.freed)} deleted, {_amount(done.left)} left")
    if done.left > size:
        _say(f"{_amount(done.left)} are in use and stay: {done.in_use} entries")


@app.command(cls=Command)
def path(cache_dir: Folder = None) -> None:
    """Print the folder."""
    _say(str(_opened(cache_dir).folder))


def _opened(folder: Path | None) -> "Cache":
    from hubfast.extraction.cache import Cache, default_folder

    return Cache(default_folder() if folder is None else folder)


def _table(files: "Iterable[CachedFile]", width: int) -> Table:
    """A row for each model, whose name loses its middle where the table has no room for it."""
    models: dict[str, list[CachedFile]] = {}
    for file in files:
        models.setdefault(_model(file), []).append(file)
    rows = [
        (
            name,
            str(len(found)),
            _amount(sum(file.size for file in found)),
            datetime.fromtimestamp(max(file.used for file in found)).strftime("%Y-%m-%d %H:%M"),
        )
        for name, found in models.items()
    ]
    rows.sort(key=lambda row: row[3], reverse=True)
    room = width - natural_width(_filled([("", *row[1:]) for row in rows])) + len(TITLES[0])
    names = shortened([row[0] for row in rows], max(room, 1))
    return _filled([(name, *row[1:]) for name, row in zip(names, rows, strict=True)])


def _model(file: "CachedFile") -> str:
    """The name of the model of an entry; where it has none, its kind and a hash of what it is."""
    if file.key is None:
        return DAMAGED
    found = file.key.get("model")
    if not isinstance(found, dict):
        return OTHERS
    whole = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    name = f"{found.get('kind')}:{found.get('name') or found.get('key') or whole[:8]}"
    weights = str(found.get("weights", ""))
    if weights.startswith("random"):
        return f"{name}?pretrained=false"
    checkpoint = found.get("kind") == "timm" and "config" not in found
    return f"{name}@{weights[:8]}" if checkpoint else name


def _filled(rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=None)
    for title in TITLES:
        justify = "right" if title in ("entries", "size") else "left"
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _say(text: str) -> None:
    output_console().print(Text(text), soft_wrap=True)


def _counted(count: int, size: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}, {_amount(size)},"


def _amount(size: float) -> str:
    """Bytes in a unit that leaves at most three digits before the point."""
    unit = 0
    while round(size, 1 if unit else 0) >= 1000 and unit + 1 < len(UNITS):
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {UNITS[unit]}B" if unit else f"{size:.0f} B"
