"""`hubfast bench cost`: parameters and multiply-adds beside the published ones."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from hubfast.cli.holding import hold_files
from hubfast.cli.output import Output, check_outputs
from hubfast.utils.files import write_csv
from hubfast.utils.terminal import output_console

if TYPE_CHECKING:
    from hubfast.bench.cost import CostRow


def cost(context: typer.Context, csv: Output = None) -> None:
    """Count what ways to use five ResNet-50 cost, beside the published table.

    224 pixels, 100 classes. GFLOPs are multiply-adds of matrix products and convolutions in a
    sample's forward pass, of a batch of 64 in training.
    """
    from hubfast.bench.cost import cost_rows

    check_outputs(csv)
    hold_files(context, csv)
    rows = cost_rows()
    console = output_console()
    for number, stage in enumerate(("training", "inference")):
        table = Table("method", title=stage, box=None, title_justify="left")
        for title in ("GFLOPs", "published", "parameters", "published"):
            table.add_column(title, justify="right")
        for row in rows:
            parameters, products = row.training if number == 0 else row.inference
            paper = (None,) * 2 if row.published is None else row.published[2 * number :][:2]
            table.add_row(
                row.method,
                f"{products / 1e9:.2f}",
                "" if paper[0] is None else f"{paper[0]:.2f}",
                f"{parameters:,}",
                "" if paper[1] is None else f"{paper[1]:.2f} M",
            )
        console.print(table, end="\n\n")
    for row in rows:
        if row.note:
            console.print(f"{row.method}: {row.note}.", highlight=False)
    if csv:
        _write(csv, rows)


def _write(path: Path, rows: "list[CostRow]") -> None:
    import pandas as pd

    names = ("parameters", "multiply_adds")
    frame = pd.DataFrame(
        {
            "method": row.method,
            **{f"training_{n}": v for n, v in zip(names, row.training, strict=True)},
            **{f"inference_{n}": v for n, v in zip(names, row.inference, strict=True)},
            "note": row.note,
        }
        for row in rows
    )
    write_csv(path, frame)
