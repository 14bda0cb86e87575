"""`hubfast bench`: what things are worth, measured here. A file a command."""

import typer

from hubfast.cli.bench_ranking import bench_ranking

app = typer.Typer(help="Measure how good scores and methods are, here.", no_args_is_help=True)
app.command("ranking")(bench_ranking)


@app.callback()
def bench() -> None:
    """Keeps the commands below `bench` even while there is one."""
