"""`hubfast bench tuning`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hubfast.cli.completion import complete_method
from hubfast.cli.holding import hold_files
from hubfast.cli.output import Output, Quiet, check_outputs
from hubfast.utils.files import write_csv
from hubfast.utils.terminal import UNLIMITED, WideTable, natural_width, output_console

if TYPE_CHECKING:
    import pandas as pd

    from hubfast.bench.tuning.trials import Trial


def tuning(
    context: typer.Context,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Only these, repeated for more; all.", autocompletion=complete_method),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Targets of the mini-hub; handwritten, lowercase, ...")
    ] = None,
    share: Annotated[
        list[float] | None, typer.Option(min=0.1, max=1, help="Of training data; 0.5 and 1.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Training runs of each trial.")] = 3,
    results: Annotated[
        Path, typer.Option(dir_okay=False, help="Trials are kept there, and never repeated.")
    ] = Path("tuning_trials.jsonl"),
    every_model: Annotated[
        bool, typer.Option(help="Also tune every model: what a ranking saves.")
    ] = True,
    speed: Annotated[
        bool, typer.Option("--speed", help="Measure costs and speeds, not accuracy.")
    ] = False,
    csv: Output = None,
    quiet: Quiet = False,
) -> None:
    """Compare every way to tune on the mini-hub: accuracy with intervals, or costs."""
    from hubfast.bench.tuning.trials import SHARES, TARGETS, compare
    from hubfast.tuning.methods.registry import installed_methods

    check_outputs(results, csv)
    hold_files(context, csv)  # results may be several runs': each adds lines of its own
    methods = tuple(method or installed_methods())
    if speed:
        _speed(methods, csv, quiet)
        return
    trials = compare(
        results,
        methods=methods,
        targets=tuple(target or TARGETS),
        shares=tuple(share or SHARES),
        seeds=seeds,
        all_models=every_model,
        progress=not quiet,
    )
    _accuracies(trials, csv)
    _selection(trials)


def _accuracies(trials: "list[Trial]", csv: Path | None) -> None:
    from hubfast.bench.tuning.summary import accuracies

    found = accuracies(trials)
    console, cells = output_console(), found.astype(str)
    table = _table(cells)
    if any(natural_width(part) > console.width for part in table.parts(UNLIMITED)):
        # Intervals below their means
        table = _table(cells.replace(" ± ", "\n±", regex=True))
    console.print(table)
    if csv:
        write_csv(csv, found)


def _table(cells: "pd.DataFrame") -> WideTable:
    rows = [list(row) for row in cells.itertuples(index=False)]
    return WideTable(list(cells.columns), rows, title="accuracy on test data, 95 % intervals")


def _selection(trials: "list[Trial]") -> None:
    from hubfast.bench.tuning.summary import selection

    found = selection(trials)
    if found is not None:
        output_console().print(
            f"Over {found.runs} runs: rank and tune the best-ranked once {found.ranked}; tune all "
            f"and take the best on test data {found.best}; a model taken blindly {found.mean}."
        )


def _speed(methods: tuple[str, ...], csv: Path | None, quiet: bool) -> None:
    import pandas as pd

    from hubfast.bench.tuning.speed import measure_costs, once_against_all

    found = measure_costs(methods, progress=not quiet)
    titles = ("train params", "params", "MMACs", "train it/s", "samples/s", "peak MB")
    rows = []
    for name, cost in found.items():
        memory = "-" if cost.peak_memory is None else f"{cost.peak_memory / 1e6:.0f}"
        rows.append(
            [
                name,
                f"{cost.train_parameters / 1e6:.2f}M",
                f"{cost.parameters / 1e6:.2f}M",
                f"{cost.multiply_adds / 1e6:.1f}",
                f"{cost.iterations_per_second:.1f}",
                f"{cost.samples_per_second:.0f}",
                memory,
            ]
        )
    title = "costs on the mini-hub, batches of about 32"
    table = WideTable(["method", *titles], rows, title=title)
    output_console().print(table)
    if csv:
        frame = pd.DataFrame([{"method": name, **vars(cost)} for name, cost in found.items()])
        write_csv(csv, frame)
    once = once_against_all()
    output_console().print(
        f"Rank {once.models} models {once.rank:.1f} s and tune one {once.tune_best:.1f} s, against "
        f"{once.tune_all:.1f} s to tune them all: {once.share:.2f} of the time."
    )
