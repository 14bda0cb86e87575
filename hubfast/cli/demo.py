"""`hubfast demo`."""

from typing import Annotated, Any, cast

import typer

from hubfast.cli.holding import hold_files
from hubfast.cli.output import Output, Quiet, check_outputs, show_ranking, starting
from hubfast.utils.extras import collection_paused
from hubfast.utils.terminal import output_console


def demo(
    context: typer.Context,
    target: Annotated[str | None, typer.Option(help="A target task of the mini-hub.")] = None,
    metric: Annotated[str, typer.Option(help="As in rank.")] = "logme",
    full: Annotated[bool, typer.Option("--full", help="All models of the mini-hub.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Fine-tuning runs, averaged.")] = 1,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Train and fine-tune the models here, in minutes.")
    ] = False,
    json: Output = None,
    csv: Output = None,
    html: Output = None,
    quiet: Quiet = False,
) -> None:
    """Rank the mini-hub, beside the accuracy that fine-tuning each model really gives.

    Ten trained models and their fine-tuned accuracies come with hubfast, so that it takes seconds.
    Others, and all with --rebuild, are trained here and kept.
    """
    check_outputs(json, csv, html)
    hold_files(context, json, csv, html)
    with starting(quiet), collection_paused():  # torch
        from hubfast.bench.demo import demo as run_demo
        from hubfast.ranking.agreement import agreement
        from hubfast.utils.allocator import keep_freed_memory

    keep_freed_memory()
    console = output_console()
    found = run_demo(
        target,
        metric=cast(Any, metric),
        full=full,
        seeds=seeds,
        rebuild=rebuild,
        on_ranking=lambda ranking: console.print(ranking),
        progress=not quiet,
    )
    show_ranking(found.ranking, json, csv, html)
    fit = agreement(found.ranking, found.title)
    console.print(
        f"Scores against {found.title}: weighted tau {fit.weighted_tau:.2f}, "
        f"Pearson {fit.pearson:.2f}; the top model is {fit.regret:.3f} below the best."
    )
    console.print(found.how)
