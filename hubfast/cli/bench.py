"""`hubfast bench`: measurements that anyone can repeat; a file each."""

import typer

from hubfast.cli.bench_tuning import tuning

app = typer.Typer(help="Measure methods on the built-in hub.", no_args_is_help=True)
app.command()(tuning)


@app.callback()
def bench() -> None:
    """Measure methods on the built-in hub."""
