"""The `hubfast` command: parses, calls the library, prints. One file per command."""

import atexit
import gc
import sys

import typer
from rich.console import Console
from rich.markup import escape

from hubfast.cli import bench, cache, minihub
from hubfast.cli.atari import atari
from hubfast.cli.info import info
from hubfast.cli.output import with_options
from hubfast.cli.rank import demo, rank
from hubfast.cli.threads import let_idle_threads_sleep
from hubfast.cli.tune import tune

app = typer.Typer(
    help="Rank, tune and compare a hub of pre-trained models on a small target data set.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (rank, tune, demo, info, atari):
    app.command()(command)
app.add_typer(minihub.app, name="minihub")
app.add_typer(bench.app, name="bench")
app.add_typer(cache.app, name="cache")


def main() -> None:
    """Runs the command: faults of the input become one line and exit code 2."""
    let_idle_threads_sleep()
    atexit.register(gc.freeze)  # the process ends: looking for garbage once more takes a second
    try:
        app()
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        said = escape(with_options(str(error)))
        console = Console(stderr=True)
        whole = not console.is_terminal  # a terminal gets lines that break between words
        console.print(f"[red]error:[/red] {said}", highlight=False, soft_wrap=whole)
        sys.exit(2)
