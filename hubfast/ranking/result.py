"""Ranking: what rank() found, as a table, JSON, CSV or DataFrame."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from hubfast.ranking.console import ranking_tables, shown
from hubfast.ranking.order import RankedModels
from hubfast.ranking.rows import MetricScore, RankedModel
from hubfast.ranking.rows import Seconds as Seconds  # its home for users of former versions
from hubfast.scores.logme.expected import name_of
from hubfast.utils.documents import read_json, write_json
from hubfast.utils.files import replacing
from hubfast.utils.names import brief, encodable
from hubfast.utils.records import as_record
from hubfast.utils.terminal import as_text

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "hubfast.Ranking/1"


@dataclass(frozen=True)
class Ranking(RankedModels):
    """Ranked models that can be shown and stored.

    `len`, indexing and iteration go over the rows, best first; `top(k)` gives the best ones' names.
    """

    def to_frame(self) -> "pd.DataFrame":
        """One row per model, numbers unrounded."""
        import pandas as pd  # slow to import

        rows = zip(self.places, self.models, strict=True)
        frame = pd.DataFrame([_storable(self._row(place, m)) for place, m in rows])
        whole = ["rank", "width", "parameters"]
        return frame.astype(dict.fromkeys(whole, "Int64"))

    def to_csv(self, path: str | Path) -> None:
        """Writes the rows of `to_frame`."""
        with replacing(path) as partial:
            self.to_frame().to_csv(partial, index=False)

    def to_json(self, path: str | Path) -> None:
        """Writes the whole ranking; `Ranking.from_json` reads it back."""
        content = {"format": FORMAT, **dataclasses.asdict(self)}
        write_json(path, content)

    @classmethod
    def from_json(cls, path: str | Path) -> "Ranking":
        """Reads what `to_json` wrote.

        Raises:
            OSError: The file cannot be read.
            ValueError: The file is of another kind, or a part of it is; the message names it.
        """
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"{path} does not hold {FORMAT}")
        found = as_record(cls, content, str(path))
        for metric in found.metrics:
            if lacking := [m.name for m in found.scored if metric not in m.scores]:
                raise ValueError(f"scores of {brief(lacking[0])} in {path} must have {metric!r}")
        return found

    def table(self) -> Table:
        """The models with a score, for a rich console of any width."""
        return ranking_tables(self, None)[0]

    def failures(self) -> list[Text]:
        """A line for each model that failed, for a rich console."""
        return [Text(f"failed: {m.name}: {m.error}", style="red") for m in self.failed]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from shown(self, options.max_width)
        yield from self.failures()
        for note in (*self.silences(), *self.notes, *self.remarks()):
            yield Text(f"note: {note}", style="yellow")

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(index=False, float_format="{:.4f}".format, na_rep="")

    def _row(self, place: int | None, m: RankedModel) -> dict[str, Any]:
        return {
            "rank": place,
            "model": m.name,
            self.metric: m.score,
            "low": m.low,
            "high": m.high,
            "tied": m.tied,
            **{key: value for metric in self.metrics for key, value in _columns(m, metric)},
            **{title: values.get(m.name) for title, values in self.extra.items()},
            **self._expected(m),
            **self._points(m),
            "width": m.width,
            "parameters": m.parameters,
            **{f"{key}_seconds": value for key, value in dataclasses.asdict(m.seconds).items()},
            "licence": m.licence or None,
            "note": m.note or None,
            "void": m.void or None,
            "error": m.error,
            **({} if self.race is None else _race_columns(m)),
        }

    def _expected(self, m: RankedModel) -> dict[str, Any]:
        """Columns of what to expect; none where no model has that."""
        if all(each.expected is None for each in self.models):
            return {}
        name, found = f"expected_{name_of(self.task)}", m.expected
        ends = {"": "value", "_low": "low", "_high": "high"}
        return {f"{name}{end}": getattr(found, field, None) for end, field in ends.items()}

    def _points(self, m: RankedModel) -> dict[str, Any]:
        """The point of the row, and a column for each score of each point, where there are any."""
        names = dict.fromkeys(p.point for each in self.models for p in each.points)
        if not names:
            return {}
        metrics = self.metrics or (self.metric,)
        have = {p.point: p.scores for p in m.points}
        scores = {
            f"{metric}@{name}": have.get(name, {}).get(metric, MetricScore()).score
            for name in names
            for metric in metrics
        }
        return {"point": m.point or None, **scores}


def _storable(row: dict[str, Any]) -> dict[str, Any]:
    """The row with text that pandas can keep."""
    return {key: encodable(x) if isinstance(x, str) else x for key, x in row.items()}


def _race_columns(m: RankedModel) -> dict[str, Any]:
    return {"samples": m.samples, "standing": m.standing or None, "why": m.why or None}


def _columns(m: RankedModel, metric: str) -> Iterator[tuple[str, Any]]:
    for name, value in dataclasses.asdict(m.scores.get(metric, MetricScore())).items():
        yield metric if name == "score" else f"{metric}_{name}", value
