"""Records of fine-tuning: which model gave what on which data set, and what scores said."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hubfast.ranking.result import Ranking
from hubfast.utils.decoding import decoding
from hubfast.utils.names import printable

NAMES = {
    "model": ("model", "model_name", "architecture"),
    "data": ("data", "dataset", "data_set", "target", "task"),
    "truth": ("truth", "accuracy", "acc", "value", "score", "performance"),
}
OTHER_DATA = "other data sets"  # name of the prior by what models did elsewhere


@dataclass(frozen=True)
class Records:
    """One row per model and data set: `model`, `data`, `truth`, and the columns in `scores`."""

    frame: pd.DataFrame
    scores: tuple[str, ...]

    def with_prior(self) -> "Records":
        """Adds the static prior: a model's mean share of models beaten on the *other* data sets.

        It never looks at the data set that it is asked about. NaN for a model seen only there.
        """
        wide = self.frame.pivot_table("truth", "model", "data")
        shares = wide.rank() - 1
        shares = shares / (wide.count() - 1).clip(lower=1)
        others = wide.count(axis=1).to_numpy()[:, None] - wide.notna().to_numpy()
        sums = shares.sum(axis=1).to_numpy()[:, None] - shares.fillna(0).to_numpy()
        means = np.divide(sums, others, out=np.full(wide.shape, np.nan), where=others > 0)
        prior = pd.DataFrame(means, wide.index, wide.columns).stack().rename(OTHER_DATA)
        frame = self.frame.join(prior, on=["model", "data"])
        return Records(frame, (*self.scores, OTHER_DATA))


def read_records(path: str | Path, rankings: Sequence[Ranking] = ()) -> Records:
    """Records from a CSV file, scores from its other numeric columns or from rankings.

    Args:
        path: With columns for the model, the data set and the fine-tuned quality, by the names in
            NAMES; further numeric columns are scores, higher is better. Repeated runs of a model
            on a data set are averaged.
        rankings: Rankings of these data sets (`Ranking.data`) and models, by name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Columns or scores are missing.
    """
    with decoding(path, "cannot be read as a CSV table"):
        raw = pd.read_csv(path)
    columns = {_find(raw, wanted, names, path): wanted for wanted, names in NAMES.items()}
    numeric = [c for c in raw.select_dtypes("number").columns if c not in columns and c != "seed"]
    frame = raw[[*columns, *numeric]].rename(columns=columns)
    if not pd.api.types.is_numeric_dtype(frame["truth"]):
        raise ValueError(f"the fine-tuned quality in {path} must be numbers")
    keys = ["data", "model"]
    frame = frame.astype(dict.fromkeys(keys, str)).groupby(keys, sort=False, as_index=False).mean()
    scored = _scores_of(rankings)
    if len(scored):
        frame = frame.merge(scored, "left", on=keys)
    scores = tuple(c for c in frame.columns if c not in ("model", "data", "truth"))
    if not any(frame[score].notna().any() for score in scores):
        known = sorted(set(frame["data"]))
        raise ValueError(f"no scores for the data sets {known} of {path}: add columns or rankings")
    return Records(frame, scores)


def _find(frame: pd.DataFrame, wanted: str, names: Sequence[str], path: str | Path) -> str:
    lower = {str(c).strip().lower().replace(" ", "_"): c for c in frame.columns}
    for name in names:
        if name in lower:
            return lower[name]
    raise ValueError(
        f"{path} must have a column for the {wanted}, one of {list(names)}, "
        f"got {list(frame.columns)}"
    )


def _scores_of(rankings: Sequence[Ranking]) -> pd.DataFrame:
    rows = []
    for ranking in rankings:
        for m in ranking.scored:
            scores = {ranking.metric: m.score}
            scores |= {metric: m.scores[metric].score for metric in ranking.metrics}
            rows.append({"data": printable(ranking.data), "model": printable(m.name), **scores})
    return pd.DataFrame(rows)
