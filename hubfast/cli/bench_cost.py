"""`hubfast bench cost`: parameters and multiply-adds beside the published ones."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from hubfast.cli.output import Output, check_folders

if TYPE_CHECKING:
    from hubfast.zoo import CostRow


def cost(csv: Output = None) -> None:
    """Count what ways to use five ResNet-50 cost, beside the published table.

    224 pixels, 100 classes. GFLOPs are multiply-adds of matrix products and convolutions in a
    sample's forward pass, of a batch of 64 in training.
    """
    from hubfast.zoo import cost_rows

    check_folders(csv)
    rows = cost_rows()
    titles = [
        f"{stage} {unit}"
        for stage in ("training", "inference")
        for unit in ("GFLOPs", "parameters")
    ]
    table = Table("method", box=None)
    for title in titles:
        table.add_column(title, justify="right")
        table.add_column("published", justify="right")
    for row in rows:
        published = row.published or (None,) * 4
        ours = (*reversed(row.training), *reversed(row.inference))
        cells = []
        for number, (found, paper) in enumerate(zip(ours, published, strict=True)):
            flops = number % 2 == 0
            cells.append(f"{found / 1e9:.2f}" if flops else f"{found:,}")
            cells.append("" if paper is None else f"{paper:.2f}" + ("" if flops else " M"))
        table.add_row(row.method, *cells)
    console = Console()
    console.print(table)
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
    frame.to_csv(path, index=False)
