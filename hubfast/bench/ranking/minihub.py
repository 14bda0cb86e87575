"""Records of the mini-hub: every model really fine-tuned on every target, and all scores."""

import warnings
from collections.abc import Sequence
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd

from hubfast.bench.ranking.records import Records
from hubfast.minihub import Truth, load_target, model_names, truth
from hubfast.ranking.consensus import CONSENSUS, borda
from hubfast.ranking.run import rank
from hubfast.scores.registry import names_of


def minihub_records(
    targets: Sequence[str] | None = None,
    *,
    full: bool = True,
    seeds: int = 1,
    progress: bool = True,
) -> Records:
    """Fine-tunes what has not been yet, scores every model by every metric, and joins the two.

    The column `consensus` is Borda's count of all metrics that look at the data.

    Args:
        targets: Names of targets; None for all, or the demo's if not `full`.
        full: Whether to take all models, and not the demo's only.
        seeds: Number of fine-tuning runs, which are averaged.
        progress: Show bars.

    Raises:
        ValueError: A target is unknown.
    """
    runs = truth(targets, full=full, seeds=seeds, progress=progress)
    rows = []
    for target in dict.fromkeys(run.target for run in runs):
        rows += _rows(target, runs, full, progress)
    return Records(pd.DataFrame(rows), (*_known(names_of(prompts=False)), CONSENSUS))


def _known(metrics: Sequence[str]) -> list[str]:
    """No model of the mini-hub ever saw ImageNet."""
    return [metric for metric in metrics if metric != "imagenet"]


def _rows(target: str, runs: Sequence[Truth], full: bool, progress: bool) -> list[dict]:
    classes = load_target(target).kind == "classification"
    metrics: Any = _known(
        names_of(task="classification" if classes else "regression", prompts=False)
    )
    hub = [f"minihub:{name}" for name in model_names(full=full)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "h_score says nothing")  # it is measured here
        ranking = rank(hub, f"minihub:{target}", metrics=metrics, progress=progress)
    if ranking.failed:
        first = ranking.failed[0]
        raise RuntimeError(f"{first.name} failed on {target}: {first.error}")
    seen = [metric for metric in metrics if metric != "parameters"]  # which did not look
    votes = np.array([[m.scores[metric].score for m in ranking.scored] for metric in seen], float)
    return [
        {
            "data": target,
            "model": m.name,
            "truth": mean(r.value for r in runs if (r.model, r.target) == (m.name, target)),
            **{metric: m.scores[metric].score for metric in metrics},
            CONSENSUS: consensus,
        }
        for m, consensus in zip(ranking.scored, borda(votes), strict=True)
    ]
