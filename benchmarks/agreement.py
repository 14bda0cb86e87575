"""How well each score orders the mini-hub, against really fine-tuned quality.

    python benchmarks/agreement.py            # 16 models, 5 targets, 2 fine-tuning seeds

The first run trains and fine-tunes everything (about half an hour on two cores) and keeps it.
Prints weighted Kendall tau (scipy's default) and, in brackets, the regret of the top model: how
much quality is lost by taking it instead of the best. LEEP, NCE and H-scores are for classes only.
"""

from rich.console import Console
from rich.table import Table

from hubfast.minihub import TARGETS
from hubfast.ranking.agreement import agreement
from hubfast.ranking.demo import demo

METRICS = ("logme", "regularized_h_score", "leep", "nce")
SEEDS = 2


def main() -> None:
    table = Table("score", *(spec.name for spec in TARGETS), box=None)
    for metric in METRICS:
        cells = []
        for spec in TARGETS:
            if spec.kind == "regression" and metric != "logme":
                cells.append("-")
                continue
            ranking, title = demo(spec.name, metric=metric, full=True, seeds=SEEDS)
            found = agreement(ranking, title)
            cells.append(f"{found.weighted_tau:.2f} ({found.regret:.3f})")
        table.add_row(metric, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
