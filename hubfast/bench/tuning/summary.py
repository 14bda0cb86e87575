"""The comparison's trials as tables: means over seeds and targets, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from hubfast.bench.tuning.trials import EVERY_MODEL, Trial

BASE = "single"  # the method that others are compared with


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its 95 % t-interval; NaN for a single value."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Interval":
        """The interval of independent values."""
        x = np.asarray(values, float)
        if len(x) < 2:
            return cls(float(x.mean()), float("nan"))
        error = x.std(ddof=1) / np.sqrt(len(x))
        return cls(float(x.mean()), float(stats.t.ppf(0.975, len(x) - 1) * error))

    def __str__(self) -> str:
        half = "" if np.isnan(self.half) else f" ± {self.half:.3f}"
        return f"{self.mean:.3f}{half}"


def frame(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row per trial."""
    return pd.DataFrame(list(trials))


def accuracies(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row per method: accuracy by target and share, mean, and difference from BASE.

    Cells are `Interval`s: by target over seeds; the mean and the difference, which is paired,
    over targets, shares and seeds. Best mean first.
    """
    table = frame([trial for trial in trials if trial.method != EVERY_MODEL])
    runs = ["target", "share", "seed"]
    base = table[table.method == BASE].set_index(runs).accuracy
    rows = []
    for method, part in table.groupby("method", sort=False):
        own = part.set_index(runs).accuracy
        row: dict = {"method": method}
        for (target, share), values in part.groupby(["target", "share"], sort=False):
            row[f"{target} {share:.0%}"] = Interval.of(values.accuracy.tolist())
        row["mean"] = Interval.of(own.tolist())
        difference = (own - base).dropna()
        row[f"minus {BASE}"] = Interval.of(difference.tolist()) if len(difference) else None
        rows.append(row)
    return pd.DataFrame(rows).sort_values("mean", key=lambda x: [-i.mean for i in x])


@dataclass(frozen=True)
class Selection:
    """Accuracy of the top-ranked model once tuned, beside that of tuning every model."""

    ranked: Interval  # rank, tune the best-ranked
    best: Interval  # tune all, take the best on the test set: the most that selection can give
    mean: Interval  # of all models: a model taken blindly
    runs: int


def selection(trials: Sequence[Trial]) -> Selection | None:
    """Compares selections of models; None without trials of every model."""
    table = frame(trials)
    each = table[table.method == EVERY_MODEL]
    ranked = table[table.method == BASE].set_index(["target", "share", "seed"]).accuracy
    if each.empty or ranked.empty:
        return None
    groups = each.groupby(["target", "share", "seed"]).accuracy
    return Selection(
        Interval.of(ranked.tolist()),
        Interval.of(groups.max().tolist()),
        Interval.of(groups.mean().tolist()),
        len(ranked),
    )
