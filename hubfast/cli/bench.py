"""`hubfast bench`: what things are worth, measured here. One file per command."""

import typer

from hubfast.cli.bench_cost import cost
from hubfast.cli.bench_ranking import bench_ranking
from hubfast.cli.bench_tuning import tuning
from hubfast.cli.command import Command

app = typer.Typer(
    help="Measure how good scores and methods are, here, and what they cost.", no_args_is_help=True
)
app.command("ranking", cls=Command)(bench_ranking)
app.command("tuning", cls=Command)(tuning)
app.command("cost", cls=Command)(cost)
