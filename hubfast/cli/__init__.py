"""The `hubfast` command: parses, calls the library, prints. One file per command."""

import atexit
import gc
import sys
from typing import Annotated

import typer

from hubfast.cli import bench, cache, minihub
from hubfast.cli.atari import atari
from hubfast.cli.bare_ray import RankCommand
from hubfast.cli.command import Command
from hubfast.cli.demo import demo
from hubfast.cli.faults import DEBUG, told, without_debug
from hubfast.cli.info import info
from hubfast.cli.rank import rank
from hubfast.cli.stopping import ended_by_sigterm
from hubfast.cli.threads import let_idle_threads_sleep
from hubfast.cli.tune import tune
from hubfast.utils.terminal import show_any_text

app = typer.Typer(
    help="Rank, tune and compare a hub of pre-trained models on a small target data set.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command(cls=RankCommand)(rank)
for command in (tune, demo, info, atari):
    app.command(cls=Command)(command)
app.add_typer(minihub.app, name="minihub")
app.add_typer(bench.app, name="bench")
app.add_typer(cache.app, name="cache")


@app.callback()
def of_all(
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show the traceback of an error; it may stand anywhere.")
    ] = False,
) -> None:
    """Rank, tune and compare a hub of pre-trained models on a small target data set."""


def main() -> None:
    """Runs the command; an error becomes one line and an exit code (`hubfast.cli.faults`)."""
    let_idle_threads_sleep()
    show_any_text()
    atexit.register(gc.freeze)  # the process ends: looking for garbage once more takes a second
    arguments, debug = without_debug(sys.argv[1:])
    with told(debug), ended_by_sigterm():
        app(args=arguments)
