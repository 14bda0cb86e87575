"""Ranking: what rank() found, as a table, JSON, CSV or DataFrame."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from hubfast.ranking.console import SIDE_BY_SIDE, by_metric_table, ranking_table

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "hubfast.Ranking/1"


@dataclass(frozen=True)
class Seconds:
    """Where a model's time went."""

    load: float = 0.0
    prepare: float = 0.0  # reading, decoding and preprocessing samples
    forward: float = 0.0
    score: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.load + self.prepare + self.forward + self.score


@dataclass(frozen=True)
class MetricScore:
    """One of several scores of a model, or why it has none."""

    score: float | None = None
    low: float | None = None  # of the 95 % bootstrap interval
    high: float | None = None
    tied: bool = False  # not distinguishable from the best by this metric
    seconds: float = 0.0  # to compute it, features given
    error: str | None = None


@dataclass(frozen=True)
class RankedModel:
    """One row: a model's score, or why it has none.

    In a ranking by several metrics `score` is their consensus, and `scores` holds each.
    """

    name: str
    score: float | None = None
    low: float | None = None  # of the 95 % bootstrap interval
    high: float | None = None
    tied: bool = False  # not distinguishable from the best
    width: int | None = None  # of its features, D
    parameters: int | None = None
    seconds: Seconds = Seconds()
    error: str | None = None
    spec: str | None = None  # what one would write to have this model again
    scores: Mapping[str, MetricScore] = dataclasses.field(default_factory=dict)
    note: str = ""  # of its hub file, and of how it was run
    licence: str = ""


@dataclass(frozen=True)
class Ranking:
    """Models, best first; those that failed come last, with their errors.

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
    notes: tuple[str, ...] = ()  # on the data: unreadable samples, uneven classes

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

    def top(self, k: int = 1) -> list[str]:
        """Names of the k best models.

        Raises:
            ValueError: Fewer have a score.
        """
        if not 1 <= k <= len(self.scored):
            raise ValueError(f"k must be in 1..{len(self.scored)}, got {k}")
        return [model.name for model in self.scored[:k]]

    def by(self, metric: str) -> "Ranking":
        """One of several metrics alone, as if it had been asked for alone.

        Raises:
            ValueError: It was not computed.
        """
        if metric not in self.metrics:
            raise ValueError(f"metric must be one of {list(self.metrics)}, got {metric!r}")
        rows, failed = [], []
        for m in self.models:
            found = m.scores.get(metric)
            if found is None or found.score is None:
                why = m.error if found is None else found.error
                failed.append(dataclasses.replace(m, score=None, scores={}, error=why))
                continue
            values = {name: getattr(found, name) for name in ("score", "low", "high", "tied")}
            rows.append(dataclasses.replace(m, **values, scores={}))
        rows.sort(key=lambda m: -float(m.score or 0.0))
        return dataclasses.replace(self, models=(*rows, *failed), metric=metric, metrics=())

    def with_column(self, title: str, values: Mapping[str, float]) -> "Ranking":
        """A copy with a column of your own, such as fine-tuned accuracies, by model name."""
        return dataclasses.replace(self, extra={**self.extra, title: dict(values)})

    def to_frame(self) -> "pd.DataFrame":
        """A row a model, numbers unrounded."""
        import pandas as pd  # slow to import

        frame = pd.DataFrame([self._row(rank, m) for rank, m in enumerate(self.models, 1)])
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
        """The models with a score, for a rich console."""
        return ranking_table(self)

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

    def __rich__(self) -> Group:
        told = (*self.notes, *self.remarks())
        notes = [Text(f"note: {note}", style="yellow") for note in told]
        tables = [self.table()]
        if len(self.metrics) > SIDE_BY_SIDE:
            tables.append(by_metric_table(self))
        return Group(*tables, *self.failures(), *notes)

    def __str__(self) -> str:
        console = Console(width=120, color_system=None)
        with console.capture() as captured:
            console.print(self)
        return captured.get()

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(index=False, float_format="{:.4f}".format, na_rep="")

    def _row(self, rank: int, m: RankedModel) -> dict[str, Any]:
        return {
            "rank": rank if m.score is not None else None,
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
            "error": m.error,
        }


def _columns(m: RankedModel, metric: str) -> Iterator[tuple[str, Any]]:
    for name, value in dataclasses.asdict(m.scores.get(metric, MetricScore())).items():
        yield metric if name == "score" else f"{metric}_{name}", value
