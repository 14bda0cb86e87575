"""Ranking: what rank() found, as a table, JSON, CSV or DataFrame."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from hubfast.ranking.console import ranking_tables
from hubfast.ranking.places import descending, places
from hubfast.ranking.rows import MetricScore, RankedModel, Seconds
from hubfast.utils.terminal import output_console

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "hubfast.Ranking/1"


@dataclass(frozen=True)
class Ranking:
    """Models, best first; then those whose score gives no place; then those that failed.

    `len`, indexing and iteration go over the rows; `top(k)` gives the best ones' names.
    """

    models: tuple[RankedModel, ...]
    metric: str  # "consensus" where there are several
    data: str  # name of the target data
    task: str
    samples: int
    classes: int | None = None
    extra: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    metrics: tuple[str, ...] = ()  # of a consensus
    location: str = ""  # of the data as it was written; empty if it was an object
    notes: tuple[str, ...] = ()  # unreadable samples, uneven classes, warnings of libraries

    def __len__(self) -> int:
        return len(self.models)

    def __getitem__(self, index: int) -> RankedModel:
        return self.models[index]

    def __iter__(self) -> Iterator[RankedModel]:
        return iter(self.models)

    @property
    def scored(self) -> tuple[RankedModel, ...]:
        """The models that did not fail."""
        return tuple(m for m in self.models if m.score is not None)

    @property
    def failed(self) -> tuple[RankedModel, ...]:
        """The models that failed."""
        return tuple(m for m in self.models if m.score is None)

    @property
    def ranked(self) -> tuple[RankedModel, ...]:
        """The models that have a place: a score, and one that says something."""
        return tuple(m for m in self.scored if not m.void)

    @property
    def places(self) -> tuple[int | None, ...]:
        """The place of each of `models`, equal scores sharing one; None for those without."""
        known = iter(places([float(m.score or 0.0) for m in self.ranked]))
        return tuple(None if m.score is None or m.void else next(known) for m in self.models)

    def top(self, k: int = 1) -> list[str]:
        """Names of the k best models.

        Raises:
            ValueError: Fewer have a place.
        """
        ranked = self.ranked
        if not 1 <= k <= len(ranked):
            why = "".join(f"; {said}" for said in self.silences())
            raise ValueError(f"k must be in 1..{len(ranked)}, got {k}{why}")
        return [model.name for model in ranked[:k]]

    def by(self, metric: str) -> "Ranking":
        """One of several metrics alone, as if it had been asked for alone.

        Raises:
            ValueError: It was not computed.
        """
        if metric not in self.metrics:
            raise ValueError(f"metric must be one of {list(self.metrics)}, got {metric!r}")
        rows = [_alone(m, metric) for m in self.models]
        rows.sort(key=lambda m: (bool(m.void), *descending(m.score)))
        return dataclasses.replace(self, models=tuple(rows), metric=metric, metrics=())

    def with_column(self, title: str, values: Mapping[str, float]) -> "Ranking":
        """A copy with a column of your own, such as fine-tuned accuracies, by model name."""
        return dataclasses.replace(self, extra={**self.extra, title: dict(values)})

    def to_frame(self) -> "pd.DataFrame":
        """A row a model, numbers unrounded."""
        import pandas as pd  # slow to import

        rows = zip(self.places, self.models, strict=True)
        frame = pd.DataFrame([self._row(place, m) for place, m in rows])
        whole = ["rank", "width", "parameters"]
        return frame.astype(dict.fromkeys(whole, "Int64"))

    def to_csv(self, path: str | Path) -> None:
        """Writes `to_frame`."""
        self.to_frame().to_csv(path, index=False)

    def to_json(self, path: str | Path) -> None:
        """Writes all of it; `Ranking.from_json` reads it back."""
        content = {"format": FORMAT, **dataclasses.asdict(self)}
        Path(path).write_text(json.dumps(content, indent=2) + "\n")

    @classmethod
    def from_json(cls, path: str | Path) -> "Ranking":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: Another kind of file.
        """
        content = json.loads(Path(path).read_text())
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise ValueError(f"{path} does not hold {FORMAT}")
        rows = [
            RankedModel(
                **{
                    **row,
                    "seconds": Seconds(**row["seconds"]),
                    "scores": {k: MetricScore(**v) for k, v in row.get("scores", {}).items()},
                }
            )
            for row in content.pop("models")
        ]
        for name in ("metrics", "notes"):
            content[name] = tuple(content.get(name, ()))
        return cls(models=tuple(rows), **content)

    def table(self) -> Table:
        """The models with a score, for a rich console of any width."""
        return ranking_tables(self, None)[0]

    def failures(self) -> list[Text]:
        """A line for each model that failed, for a rich console."""
        return [Text(f"failed: {m.name}: {m.error}", style="red") for m in self.failed]

    def remarks(self) -> list[str]:
        """What should be known of models, each remark once with the names of its models."""
        named: dict[str, list[str]] = {}
        for m in self.scored:
            if m.note:
                named.setdefault(m.note, []).append(m.name)
        return [f"{', '.join(names)}: {note}" for note, names in named.items()]

    def silences(self) -> list[str]:
        """A sentence for each metric that says nothing of some models."""
        told = []
        for metric in self.metrics or (self.metric,):
            alone = self.by(metric) if self.metrics else self
            void = [m.void for m in alone.scored if m.void]
            if void:
                some = f"{len(void)} of {len(alone.scored)} models have no place by {metric}"
                told.append(f"{some}: {void[0]}")
        return told

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from ranking_tables(self, options.max_width)
        yield from self.failures()
        for note in (*self.silences(), *self.notes, *self.remarks()):
            yield Text(f"note: {note}", style="yellow")

    def __str__(self) -> str:
        console = Console(width=output_console().width, color_system=None)
        with console.capture() as captured:
            console.print(self)
        return captured.get()

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
            "width": m.width,
            "parameters": m.parameters,
            **{f"{key}_seconds": value for key, value in dataclasses.asdict(m.seconds).items()},
            "licence": m.licence or None,
            "note": m.note or None,
            "void": m.void or None,
            "error": m.error,
        }


def _alone(m: RankedModel, metric: str) -> RankedModel:
    """The row of a ranking by this metric alone; none of its numbers is of another score."""
    found = m.scores.get(metric)
    if found is None or found.score is None:
        found = MetricScore(error=m.error if found is None else found.error)
    return dataclasses.replace(
        m,
        score=found.score,
        low=found.low,
        high=found.high,
        tied=found.tied,
        void=found.void,
        error=found.error,
        scores={},
    )


def _columns(m: RankedModel, metric: str) -> Iterator[tuple[str, Any]]:
    for name, value in dataclasses.asdict(m.scores.get(metric, MetricScore())).items():
        yield metric if name == "score" else f"{metric}_{name}", value
