"""`hubfast minihub`: the built-in hub."""

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from hubfast.cli.command import Command
from hubfast.cli.holding import hold_files
from hubfast.cli.output import Output, Quiet, check_outputs
from hubfast.utils.files import write_csv
from hubfast.utils.terminal import WideTable, output_console

app = typer.Typer(help="The built-in hub of small models.", no_args_is_help=True)


@app.command("list", cls=Command)
def list_minihub() -> None:
    """List its models and target tasks."""
    from hubfast.minihub import MODELS, TARGETS

    table = Table("name", "demo", "what it is", box=None)
    table.columns[0].no_wrap = True
    for model in MODELS:
        about = f"{model.architecture} trained on {model.source}: {model.note}"
        table.add_row(f"minihub:{model.name}", "yes" if model.in_demo else "", about)
    for target in TARGETS:
        about = f"target, {target.kind}, {target.train} samples: {target.note}"
        table.add_row(f"minihub:{target.name}", "yes" if target.in_demo else "", about)
    output_console().print(table)


@app.command("build", cls=Command)
def build_minihub(
    full: Annotated[bool, typer.Option("--full", help="All models, not the demo's only.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Train also those that are there.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train its models; those that come with hubfast, or were trained before, are kept."""
    from hubfast.minihub import build, is_shipped, model_names

    folder = build(full=full, rebuild=rebuild, progress=not quiet)
    names = model_names(full=full)
    shipped = sum(is_shipped(name) for name in names)
    text = f"{shipped} of {len(names)} models come with hubfast, the others are in {folder}"
    output_console().print(text)


@app.command("truth", cls=Command)
def minihub_truth(
    context: typer.Context,
    target: Annotated[list[str] | None, typer.Argument(help="Targets; the demo's.")] = None,
    full: Annotated[bool, typer.Option("--full", help="All models, and all targets.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Fine-tuning runs of each.")] = 1,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Do known runs again.")] = False,
    csv: Output = None,
    quiet: Quiet = False,
) -> None:
    """Fine-tune every model on the targets; runs that are known are kept."""
    import pandas as pd

    from hubfast.minihub import truth

    check_outputs(csv)
    hold_files(context, csv)
    runs = truth(target, full=full, seeds=seeds, rebuild=rebuild, progress=not quiet)
    frame = pd.DataFrame(runs)
    if csv:
        write_csv(csv, frame)
    means = frame.pivot_table("value", "model", "target", sort=False)
    rows = [[str(name), *(f"{value:.3f}" for value in row)] for name, row in means.iterrows()]
    titles = ["model", *map(str, means.columns)]
    table = WideTable(titles, rows, title="fine-tuned accuracy, R2 for angle", box=box.SIMPLE)
    output_console().print(table)
