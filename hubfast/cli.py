"""The `hubfast` command: parses, calls the library, prints."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from hubfast.ranking import Ranking

app = typer.Typer(
    help="Rank, tune and compare a hub of pre-trained models on a small target data set.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
minihub_app = typer.Typer(
    help="The built-in hub of small models, trained here.", no_args_is_help=True
)
app.add_typer(minihub_app, name="minihub")

Output = Annotated[Path | None, typer.Option(dir_okay=False, help="Write the ranking there, too.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


@app.command()
def rank(
    hub: Annotated[
        list[str],
        typer.Argument(
            help="Models: timm:NAME, timm:NAME@CHECKPOINT, a file of features "
            "(.npy, .npz, .safetensors) or a folder of them, minihub, minihub:NAME."
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Target data: a folder with a sub-folder of images for each class, an .npz file "
            "with 'images' and 'targets', a .npy file of targets for stored features, minihub:NAME."
        ),
    ],
    metric: Annotated[
        str, typer.Option(help="logme, h_score, regularized_h_score, leep or nce.")
    ] = "logme",
    task: Annotated[
        str | None,
        typer.Option(help="classification, multilabel or regression; told from the targets."),
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Use at most so many samples.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples per forward pass.")] = 64,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; a GPU if any.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes preparing samples.")] = None,
    seed: Annotated[int, typer.Option(help="Of the subsample and of the intervals.")] = 0,
    json: Output = None,
    csv: Output = None,
    html: Output = None,
    quiet: Quiet = False,
) -> None:
    """Rank models for target data without fine-tuning any."""
    from hubfast.minihub import build
    from hubfast.ranking import rank as rank_hub
    from hubfast.ranking.run import INTERRUPTED

    _check_folders(json, csv, html)
    names = [name.removeprefix("minihub:") for name in hub if name.startswith("minihub:")]
    if names or "minihub" in hub:
        build(None if "minihub" in hub else names, progress=not quiet)
    ranking = rank_hub(
        hub,
        data,
        metric=cast(Any, metric),
        task=cast(Any, task),
        samples=samples,
        batch_size=batch_size,
        device=device,
        workers=workers,
        seed=seed,
        progress=not quiet,
    )
    _output(ranking, json, csv, html)
    if any(m.error == INTERRUPTED for m in ranking.failed):
        raise typer.Exit(130)
    if not ranking.scored:
        raise typer.Exit(1)


@app.command()
def demo(
    target: Annotated[str | None, typer.Option(help="A target task of the mini-hub.")] = None,
    metric: Annotated[str, typer.Option(help="As in rank.")] = "logme",
    full: Annotated[bool, typer.Option("--full", help="All models of the mini-hub.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Fine-tuning runs, averaged.")] = 1,
    json: Output = None,
    csv: Output = None,
    html: Output = None,
    quiet: Quiet = False,
) -> None:
    """Rank the mini-hub, beside the accuracy that fine-tuning each model really gives.

    The first run trains the models (about two minutes on two cores); they are kept.
    """
    from hubfast.ranking.agreement import agreement
    from hubfast.ranking.demo import demo as run_demo

    _check_folders(json, csv, html)
    ranking, title = run_demo(
        target, metric=cast(Any, metric), full=full, seeds=seeds, progress=not quiet
    )
    _output(ranking, json, csv, html)
    found = agreement(ranking, title)
    Console().print(
        f"Scores against {title}: weighted tau {found.weighted_tau:.2f}, "
        f"Pearson {found.pearson:.2f}; the top model is {found.regret:.3f} below the best."
    )


@app.command()
def info() -> None:
    """Show versions, and which backends are active and why."""
    from hubfast.info import info as collect

    table = Table(show_header=False, box=None)
    for label, text in collect().items():
        table.add_row(label, text)
    Console().print(table)


@minihub_app.command("list")
def list_minihub() -> None:
    """List its models and target tasks."""
    from hubfast.minihub import MODELS, TARGETS

    table = Table("name", "demo", "what it is", box=None)
    for model in MODELS:
        about = f"{model.architecture} trained on {model.source}: {model.note}"
        table.add_row(f"minihub:{model.name}", "yes" if model.in_demo else "", about)
    for target in TARGETS:
        about = f"target, {target.kind}, {target.train} samples: {target.note}"
        table.add_row(f"minihub:{target.name}", "yes" if target.in_demo else "", about)
    Console().print(table)


@minihub_app.command("build")
def build_minihub(
    full: Annotated[bool, typer.Option("--full", help="All models, not the demo's only.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train its models; those that are there are kept."""
    from hubfast.minihub import build

    Console().print(f"The mini-hub is in {build(full=full, progress=not quiet)}")


@minihub_app.command("truth")
def minihub_truth(
    target: Annotated[list[str] | None, typer.Argument(help="Targets; the demo's.")] = None,
    full: Annotated[bool, typer.Option("--full", help="All models, and all targets.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Fine-tuning runs of each.")] = 1,
    csv: Output = None,
    quiet: Quiet = False,
) -> None:
    """Fine-tune every model on the targets; runs that are there are kept."""
    import pandas as pd

    from hubfast.minihub import truth

    _check_folders(csv)
    frame = pd.DataFrame(truth(target, full=full, seeds=seeds, progress=not quiet))
    if csv:
        frame.to_csv(csv, index=False)
    means = frame.pivot_table("value", "model", "target", sort=False)
    table = Table("model", *means.columns, title="fine-tuned accuracy, R2 for angle")
    for name, row in means.iterrows():
        table.add_row(str(name), *(f"{value:.3f}" for value in row))
    Console().print(table)


def main() -> None:
    """Entry point: faults of the input become one line and exit code 2."""
    try:
        app()
    except (ValueError, TypeError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
        sys.exit(2)


def _check_folders(*paths: Path | None) -> None:
    """Before the work, so that no result is lost to a misspelt folder."""
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise FileNotFoundError(f"no such folder: {path.parent}")


def _output(ranking: "Ranking", json: Path | None, csv: Path | None, html: Path | None) -> None:
    from hubfast.report import write_ranking

    Console().print(ranking)
    if json:
        ranking.to_json(json)
    if csv:
        ranking.to_csv(csv)
    if html:
        write_ranking(html, ranking)


if __name__ == "__main__":
    main()
