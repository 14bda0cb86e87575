"""`hubfast bench ranking`."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from hubfast.cli.holding import hold_files
from hubfast.cli.output import Output, Quiet, check_outputs
from hubfast.utils.files import write_csv
from hubfast.utils.terminal import output_console


def bench_ranking(
    context: typer.Context,
    records: Annotated[
        Path | None,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="Your own fine-tuning records: a CSV file with columns model, data, accuracy; "
            "further number columns are scores. Without it: the mini-hub.",
        ),
    ] = None,
    ranking: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Scores for the records: a file that `hubfast rank --json` wrote. Repeat.",
        ),
    ] = None,
    prior: Annotated[
        str | None, typer.Option(help="The score that gains are over; parameters if known.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="A target of the mini-hub, repeat; all of them.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="The demo's ten models only.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Fine-tuning runs, averaged.")] = 1,
    cost: Annotated[bool, typer.Option(help="Also seconds and peak memory of each score.")] = True,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    json: Output = None,
    csv: Output = None,
    quiet: Quiet = False,
) -> None:
    """Measure every score against fine-tuned quality: of the mini-hub, or of your records.

    The first run trains and fine-tunes the mini-hub, a quarter of an hour on two cores; it is
    kept.
    """
    from hubfast.bench.ranking import evaluate, minihub_records, read_records
    from hubfast.ranking import Ranking

    check_outputs(json, csv)
    hold_files(context, json, csv)
    if records is None:
        if ranking:
            raise ValueError("--ranking needs RECORDS, a CSV file of fine-tuned qualities")
        truth = minihub_records(target, full=not demo, seeds=seeds, progress=not quiet)
    else:
        truth = read_records(records, [Ranking.from_json(path) for path in ranking or []])
    evaluation = evaluate(truth, prior, seed=seed, progress=not quiet)
    console = output_console()
    console.print(evaluation)
    if json:
        evaluation.to_json(json)
    if csv:
        write_csv(csv, evaluation.frame)
    if records is None and cost:
        console.print(_cost_table(quiet))


def _cost_table(quiet: bool) -> Table:
    from hubfast.bench.ranking.cost import score_costs
    from hubfast.scores.registry import SCORES
    from hubfast.utils.progress import progress_bar

    metrics = tuple(SCORES)
    with progress_bar(not quiet) as bars:
        task = bars.add_task("", total=len(metrics))

        def announce(metric: str) -> None:
            bars.update(task, description=f"cost of {metric}", advance=1)

        costs = score_costs(metrics, announce=announce)
    table = Table(title="2048 samples, D = 1024, 50 classes, features given", box=box.SIMPLE)
    for title in ("score", "seconds", "peak MiB"):
        table.add_column(title, justify="left" if title == "score" else "right")
    for found in costs:
        memory = "-" if found.peak_mib is None else f"{found.peak_mib:.0f}"
        table.add_row(found.metric, f"{found.seconds:.2f}", memory)
    return table
