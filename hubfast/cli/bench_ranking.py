"""`hubfast bench ranking`."""

from pathlib import Path
from typing import Annotated, Any, cast

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
    hub: Annotated[
        list[str] | None,
        typer.Option(help="Models of your own, as in rank, such as a hub file; repeat. With DATA."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Target data for HUB, as in rank; repeat for several sets."),
    ] = None,
    truth: Annotated[
        str,
        typer.Option(help="Of HUB: full, all models fine-tuned, or head, a linear head on each."),
    ] = "full",
    train: Annotated[
        int, typer.Option(min=1, help="Of HUB: samples that a model is scored and trained on.")
    ] = 300,
    test: Annotated[int, typer.Option(min=1, help="Of HUB: samples that it is tested on.")] = 300,
    epochs: Annotated[int, typer.Option(min=1, help="Of HUB: epochs of fine-tuning.")] = 10,
    lr: Annotated[float, typer.Option(help="Of HUB: highest learning rate.")] = 1e-3,
    results: Annotated[
        Path, typer.Option(dir_okay=False, help="Of HUB: runs are kept there, never repeated.")
    ] = Path("hub_trials.jsonl"),
    trust: Annotated[
        bool, typer.Option("--trust", help="Models may run code of their own, as in rank.")
    ] = False,
    target: Annotated[
        list[str] | None, typer.Option(help="A target of the mini-hub, repeat; all of them.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="The demo's ten models only.")] = False,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Fine-tuning runs, averaged: 1; draws of HUB's data: 3."),
    ] = None,
    cost: Annotated[bool, typer.Option(help="Also seconds and peak memory of each score.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    json: Output = None,
    csv: Output = None,
    quiet: Quiet = False,
) -> None:
    """Measure every score against trained quality: of the mini-hub, your hub, or your records.

    The first run of the mini-hub trains and fine-tunes it, a quarter of an hour on two cores; it
    is kept. With --hub every model of yours is scored and trained on every --data.
    """
    from hubfast.bench.ranking import (
        HubDesign,
        evaluate,
        hub_records,
        minihub_records,
        read_records,
    )
    from hubfast.ranking import Ranking
    from hubfast.tuning import Recipe

    outputs = (json, csv, results if hub else None)
    check_outputs(*outputs)
    hold_files(context, *outputs)
    _check_together(records, ranking, hub, data, mini=bool(target) or demo)
    if hub:
        recipe = Recipe(epochs=epochs, lr=lr)
        design = HubDesign(train, test, draws=seeds or 3, recipe=recipe)
        found = hub_records(
            hub,
            data or [],
            results,
            truth=cast(Any, truth),
            design=design,
            trust=trust,
            progress=not quiet,
        )
    elif records is None:
        found = minihub_records(target, full=not demo, seeds=seeds or 1, progress=not quiet)
    else:
        found = read_records(records, [Ranking.from_json(path) for path in ranking or []])
    evaluation = evaluate(found, prior, seed=seed, progress=not quiet)
    console = output_console()
    console.print(evaluation)
    if json:
        evaluation.to_json(json)
    if csv:
        write_csv(csv, evaluation.frame)
    if records is None and not hub and cost:
        console.print(_cost_table(quiet))


def _check_together(
    records: Path | None,
    ranking: list[Path] | None,
    hub: list[str] | None,
    data: list[str] | None,
    *,
    mini: bool,
) -> None:
    """Refuses options of more than one kind of study.

    Raises:
        ValueError: They are; the message names them.
    """
    if ranking and records is None:
        raise ValueError("--ranking needs RECORDS, a CSV file of fine-tuned qualities")
    if bool(hub) != bool(data):
        raise ValueError("--hub needs --data, the target data, and --data needs --hub, the models")
    if records is not None and hub:
        raise ValueError("give RECORDS, whose models were trained, or --hub, which trains models")
    if mini and (hub or records is not None):
        raise ValueError("--target and --demo are of the mini-hub: without RECORDS and --hub")


def _cost_table(quiet: bool) -> Table:
    from hubfast.bench.ranking.cost import score_costs
    from hubfast.scores.registry import names_of
    from hubfast.utils.progress import progress_bar

    metrics = names_of(prompts=False)
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
