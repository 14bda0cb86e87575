"""All scores against the truth of all data sets, as a table, JSON or DataFrame."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from hubfast.bench.ranking.measures import Measures, measure
from hubfast.bench.ranking.records import OTHER_DATA, Records
from hubfast.utils.documents import write_json
from hubfast.utils.moved import moved
from hubfast.utils.progress import progress_bar
from hubfast.utils.terminal import WideTable, as_text

FORMAT = "hubfast.Evaluation/1"
RESAMPLES = 300
TAILS = (0.025, 0.975)
# What one may know without a look at the data: gains are measured over each of them that is there.
PRIORS = {
    "parameters": "parameters",
    "imagenet": "ImageNet accuracy",
    OTHER_DATA: OTHER_DATA,
}
TITLES = {
    "tau": "tau",
    "tau_by_truth": "by truth",
    "pearson": "Pearson",
    "regret_1": "regret @1",
    "regret_3": "regret @3",
    "regret_5": "regret @5",
}


@dataclass(frozen=True)
class ScoreStudy:
    """The agreement of every score with the truth, as `evaluate` measures it.

    `frame` has one row per score and measure: `score`, `measure`, `value` (mean over the data
    sets that have the score), its bootstrap interval `low`, `high`, the `gain` over the prior on
    the same data sets with `gain_low`, `gain_high` (positive is better, for regrets, too), and
    `data_sets`. `by_data` has one row per score, data set and measure. `gains` has the rows of
    `frame` for each static prior in the column `prior`: the number of parameters, the accuracy on
    ImageNet, and how the models did on the other data sets, where these are known.
    """

    frame: pd.DataFrame
    by_data: pd.DataFrame
    gains: pd.DataFrame
    prior: str
    models: int

    def to_json(self, path: str | Path) -> None:
        """Writes all of it."""
        content = {
            "format": FORMAT,
            "prior": self.prior,
            "models": self.models,
            "scores": json.loads(self.frame.to_json(orient="records", double_precision=15)),
            "by_data": json.loads(self.by_data.to_json(orient="records", double_precision=15)),
            "gains": json.loads(self.gains.to_json(orient="records", double_precision=15)),
        }
        write_json(path, content)

    def __rich__(self) -> Group:
        gains = () if self.gains.empty else (self._gains(),)
        return Group(self._means(), *gains, self._by_data())

    def __str__(self) -> str:
        return as_text(self)

    def _means(self) -> Table:
        sets = len(self.by_data["data"].unique())
        table = Table(
            title=f"{self.models} models, means over {sets} data sets",
            caption=Text(
                "± half of the 95 % bootstrap interval over models (of all measures in the files). "
                f"gain: tau less that of {self.prior!r} on the same data sets. Weighted tau: by "
                "both orders (scipy's default), or by the true order.",
                style="table.caption",
            ),
            box=box.SIMPLE,
            padding=0,
        )
        table.add_column("score", no_wrap=True)
        for title in (*TITLES.values(), "gain"):
            widest = max(map(len, (*title.split(), "-0.123")))  # what may not be broken
            table.add_column(title, justify="right", min_width=widest)
        table.add_column("sets", justify="right", no_wrap=True)
        for score, rows in self.frame.groupby("score", sort=False):
            found = rows.set_index("measure")
            tau = found.loc["tau"]
            cells = [_cell(tau.value, tau.low, tau.high)]
            cells += [_cell(found.loc[m].value) for m in Measures._fields[1:]]
            gain = "" if score == self.prior else _cell(tau.gain, tau.gain_low, tau.gain_high)
            table.add_row(Text(str(score)), *cells, gain, str(int(tau.data_sets)))
        return table

    def _gains(self) -> WideTable:
        """Gains in tau and in regret@1 over every static prior."""
        measures = {"tau": "tau", "regret_1": "@1"}
        priors = [name for name in PRIORS if name in set(self.gains["prior"])]
        titles = [f"{said}, {PRIORS[name]}" for name in priors for said in measures.values()]
        wide = self.gains.set_index(["score", "prior", "measure"])
        shown = []
        for score in self.frame["score"].unique():
            cells = []
            for name in priors:
                found = [wide.loc[(score, name, measure)] for measure in measures]
                shown_as = [_cell(row.gain, row.gain_low, row.gain_high) for row in found]
                cells += [""] * len(found) if score == name else shown_as
            shown.append([str(score), *cells])
        title = "gains in tau and in regret @1 over each static prior"
        return WideTable(["score", *titles], shown, title=title, box=box.SIMPLE)

    def _by_data(self) -> WideTable:
        names = list(self.by_data["data"].unique())
        shown = []
        for score, rows in self.by_data.groupby("score", sort=False):
            wide = rows.pivot_table("value", "measure", "data")
            cells = [_tau_and_regret(wide[name]) if name in wide else "-" for name in names]
            shown.append([str(score), *cells])
        titles = ["score", *map(str, names)]
        return WideTable(titles, shown, title="tau (regret @1) by data set", box=box.SIMPLE)


def evaluate(
    records: Records, prior: str | None = None, *, seed: int = 0, progress: bool = True
) -> ScoreStudy:
    """Measures every score of `records`, best mean tau first.

    Intervals are of resampled models, the same ones in every data set and for every score; they
    do not hold the error of the truth itself, nor that of other data sets.

    Args:
        records: Data sets with at least two models each.
        prior: The score that gains are over; None for `parameters`, or the models' truth on the
            other data sets where that is not known.
        seed: Seed of the bootstrap.
        progress: Show a bar.

    Raises:
        ValueError: There is no such prior, or no data set with two scored models.
    """
    records = records.with_prior()
    if prior is None:
        known = "parameters" in records.scores and records.frame["parameters"].notna().any()
        prior = "parameters" if known else records.scores[-1]
    if prior not in records.scores:
        raise ValueError(f"prior must be one of {list(records.scores)}, got {prior!r}")
    names = sorted(records.frame["model"].unique())
    draws = _draws(len(names), seed)
    with progress_bar(progress) as bars:
        measured = {
            score: _of_score(records, score, names, draws, bars) for score in records.scores
        }
    measured = {score: sets for score, sets in measured.items() if sets}
    if prior not in measured:
        raise ValueError(f"the prior {prior!r} has no data set with two scored models")
    frame = _mean_rows(measured, prior)
    priors = [name for name in PRIORS if name in measured]
    over_priors = [_mean_rows(measured, name).assign(prior=name) for name in priors]
    order = frame[frame["measure"] == "tau"].sort_values("value", ascending=False)["score"]
    place = {score: i for i, score in enumerate(order)}
    frame, by_data, gains = (
        each.sort_values("score", key=lambda s: s.map(place), kind="stable", ignore_index=True)
        for each in (frame, _long(measured), pd.concat(over_priors or [frame[:0].assign(prior="")]))
    )
    return ScoreStudy(frame, by_data, gains, prior, len(names))


def _long(measured: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    rows = [
        [score, data, name, values[0, i]]
        for score, sets in measured.items()
        for i, name in enumerate(Measures._fields)
        for data, values in sets.items()
    ]
    return pd.DataFrame(rows, columns=["score", "data", "measure", "value"])


def _mean_rows(measured: Mapping[str, Mapping[str, np.ndarray]], prior: str) -> pd.DataFrame:
    """One row per score and measure: means over data sets, and gains over the prior."""
    rows = []
    for score, sets in measured.items():
        shared = [name for name in sets if name in measured[prior]]
        for i, name in enumerate(Measures._fields):
            mean = _mean([values[:, i] for values in sets.values()])
            gain = np.full_like(mean, np.nan)
            if shared:
                sign = -1 if name.startswith("regret") else 1
                gain = _mean([sign * (sets[n][:, i] - measured[prior][n][:, i]) for n in shared])
            rows.append([score, name, *_interval(mean), *_interval(gain), len(sets)])
    columns = ["value", "low", "high", "gain", "gain_low", "gain_high", "data_sets"]
    return pd.DataFrame(rows, columns=["score", "measure", *columns])


def _draws(models: int, seed: int) -> np.ndarray:
    """Indices of models, `(1 + RESAMPLES, models)`; the first are all of them."""
    resampled = np.random.default_rng(seed).integers(0, models, (RESAMPLES, models))
    return np.concatenate([np.arange(models)[None], resampled])


def _of_score(
    records: Records, score: str, names: Sequence[str], draws: np.ndarray, bars: Progress
) -> dict[str, np.ndarray]:
    """Measures of all models and of resamples, `(1 + RESAMPLES, 6)`, by data set."""
    by_data = {}
    groups = list(records.frame.groupby("data", sort=False))
    task = bars.add_task(score, total=len(groups))
    for data, rows in groups:
        bars.advance(task)
        table = rows.set_index("model").reindex(names)
        values, truth = table[score].to_numpy(float), table["truth"].to_numpy(float)
        both = np.isfinite(values) & np.isfinite(truth)
        if both.sum() < 2:
            continue
        measured = []
        for draw in draws:
            part = draw[both[draw]]
            enough = len(np.unique(part)) > 1
            measured.append(measure(values[part], truth[part]) if enough else [np.nan] * 6)
        by_data[str(data)] = np.array(measured, dtype=float)
    bars.remove_task(task)
    return by_data


def _mean(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over data sets, without those that are NaN; NaN where all are."""
    stacked = np.stack(columns)
    known = np.isfinite(stacked)
    counts = known.sum(0)
    total = np.where(known, stacked, 0).sum(0)
    return np.divide(total, counts, out=np.full(len(total), np.nan), where=counts > 0)


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    """The first value, and the interval of the others."""
    others = values[1:][np.isfinite(values[1:])]
    if not len(others):
        return float(values[0]), np.nan, np.nan
    low, high = np.quantile(others, TAILS)
    return float(values[0]), float(low), float(high)


def _tau_and_regret(measures: pd.Series) -> str:
    tau = measures.get("tau", np.nan)
    return f"{tau:.2f} ({measures['regret_1']:.3f})" if np.isfinite(tau) else "-"


def _cell(value: float, low: float = np.nan, high: float = np.nan) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{value:.3f} ±{(high - low) / 2:.2f}" if np.isfinite(high - low) else f"{value:.3f}"


__getattr__ = moved(__name__, {"Evaluation": "hubfast.bench.ranking.table.ScoreStudy"})
