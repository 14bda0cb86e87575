"""A ranking on a terminal."""

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from hubfast.ranking.table import RankedModel, Ranking

STAGES = ("load", "prepare", "forward", "score")
SIDE_BY_SIDE = 4  # metrics that a terminal has room for as columns


def ranking_table(ranking: "Ranking") -> Table:
    """The models with a score, for a rich console."""
    what = f"{ranking.metric} of {len(ranking)} models"
    title = f"{what} on {ranking.data} ({ranking.samples} samples)"
    table = Table(title=title, caption=_caption(ranking), box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("#", justify="right")
    table.add_column("model", overflow="fold")
    metrics = ranking.metrics if len(ranking.metrics) <= SIDE_BY_SIDE else ()
    columns = (ranking.metric, "95 %", *metrics, *ranking.extra, "D", "params", "seconds")
    for column in columns:
        table.add_column(column, justify="right")
    licences = any(m.licence for m in ranking.scored)
    if licences:
        table.add_column("licence")
    for rank, m in enumerate(ranking.scored, 1):
        table.add_row(
            f"{rank}{'=' if m.tied and rank > 1 else ''}",
            m.name,
            f"{m.score:.4f}",
            _half_width(m),
            *(_number(m.scores[metric].score, ".4g") for metric in metrics),
            *(_number(values.get(m.name), ".3f") for values in ranking.extra.values()),
            _number(m.width, "d"),
            _millions(m.parameters),
            f"{m.seconds.total:.2f}",
            *([m.licence or "-"] if licences else []),
            style="bold" if m.tied else "",
        )
    return table


def by_metric_table(ranking: "Ranking") -> Table:
    """What each of many metrics says, for which there are too many columns."""
    table = Table(title="by each score alone", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("score")
    for column in ("best", "second", "third"):
        table.add_column(column, overflow="fold")
    table.add_column("not told apart", justify="right")
    for metric in ranking.metrics:
        alone = ranking.by(metric)
        best = [f"{m.name} {m.score:.4g}" for m in alone.scored[:3]]
        best += [""] * (3 - len(best))
        table.add_row(metric, *best, str(sum(m.tied for m in alone)))
    return table


def _caption(ranking: "Ranking") -> str:
    spent = {name: sum(getattr(m.seconds, name) for m in ranking.models) for name in STAGES}
    split = ", ".join(f"{name} {value:.1f} s" for name, value in spent.items())
    ties = sum(m.tied for m in ranking.models)
    shared = f"{ties} models are not distinguishable from the best (=, bold). " * (ties > 1)
    return f"{shared}Time: {split}."


def _half_width(m: "RankedModel") -> str:
    """Of the interval; `to_frame` and the report have both ends."""
    return "-" if m.low is None or m.high is None else f"± {(m.high - m.low) / 2:.4f}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _millions(parameters: int | None) -> str:
    return "-" if parameters is None else f"{parameters / 1e6:.2f}M"
