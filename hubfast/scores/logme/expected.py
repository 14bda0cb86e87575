"""What to expect of a model whose head alone is trained: how often the evidence's model is right.

LogME's Bayesian linear model predicts each sample from all others. With f = x'm its prediction, h
the leverage and y the target, all at the t of the largest evidence, the prediction without sample
i is (f - h y) / (1 - h), by the Sherman-Morrison formula: no model is fitted anew. Allen: "The
Relationship between Variable Selection and Data Augmentation and a Method for Prediction",
Technometrics 1974.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hubfast.scores.bootstrap import NORMAL
from hubfast.scores.clustered import cluster_influences, sizes_of
from hubfast.scores.inputs import Task
from hubfast.scores.logme.logme import LogME


@dataclass(frozen=True)
class Expected:
    """How well a linear model on the features predicts samples that it was not fitted to.

    For classes it is the share that is right, for several labels the mean share of labels that are
    right, for regression R2, averaged over target columns.
    """

    value: float
    low: float  # of the 95 % interval
    high: float
    majority: float  # of always saying the most frequent class, or each label's; 0 for regression
    chance: float  # of guessing; 0 for regression
    samples: int  # that were predicted
    clusters: int = 0  # that were left out whole, such as sentences; 0 where samples were


def expected(
    fit: LogME,
    features: Any,
    targets: Any,
    shares: Tensor | None = None,
    clusters: Tensor | None = None,
) -> Expected:
    """What the fitted linear model gives for samples that it was fitted to, each left out.

    Args:
        fit: The fit, of n samples.
        features: r of the n samples, `(r, D)`.
        targets: Their targets, as `LogME.fit` takes them.
        shares: Share of each class, or of each label, among all n samples, `(C,)`; None for that
            among the r.
        clusters: Which of the r belong together, `(r,)`, each cluster whole and in one piece: it is
            left out whole, and intervals are of clusters. None where each sample is by itself.

    Raises:
        TypeError, ValueError: Features or targets do not fit the fit.
    """
    predicted, columns = fit.leave_one_out(features, targets, clusters)
    shares = columns.mean(0) if shares is None else shares.to(columns)
    count = 0 if clusters is None else len(sizes_of(clusters))
    found = _of_predictions(fit, predicted, columns, shares, clusters)
    return replace(found, clusters=count)


def _of_predictions(
    fit: LogME, predicted: Tensor, columns: Tensor, shares: Tensor, clusters: Tensor | None
) -> Expected:
    if fit.task == "regression":
        return _explained(predicted, columns, clusters)
    if fit.task == "multilabel":
        right = ((predicted > 0.5) == (columns > 0.5)).double().mean(1)
        majority = float(torch.maximum(shares, 1 - shares).mean())
        return Expected(*_around_mean(right, 0, 1, clusters), majority, 0.5, len(right))
    hits = _first_of_highest(predicted, shares) == columns.argmax(1)
    value, count = float(hits.double().mean()), len(hits)
    ends = _wilson(value, _alone(hits.double(), clusters))
    return Expected(value, *ends, float(shares.max()), 1 / columns.shape[1], count)


def _first_of_highest(predicted: Tensor, shares: Tensor) -> Tensor:
    """The column with the highest prediction; among equal ones that of the largest share."""
    highest = predicted == predicted.max(1, keepdim=True).values
    return torch.where(highest, shares, -math.inf).argmax(1)


def _alone(hits: Tensor, clusters: Tensor | None) -> float:
    """How many samples, each by itself, would know the share of hits as well: at most as many.

    Where all or none hit, clusters do not show how alike their samples are; they count as one each.
    """
    if clusters is None:
        return len(hits)
    spread = float(hits.var(correction=0))
    if not spread:
        return len(sizes_of(clusters))
    moved = float(cluster_influences(hits, clusters, cut=False).var(correction=0))
    return min(len(hits) * spread / moved if moved else math.inf, len(hits))


def _wilson(share: float, count: float) -> tuple[float, float]:
    """The interval of a share of `count` samples. Wilson, JASA 1927."""
    z = NORMAL
    centre = share + z**2 / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    low, high = ((centre + sign * half) / (1 + z**2 / count) for sign in (-1, 1))
    return max(min(low, share), 0.0), min(max(high, share), 1.0)  # but for round-off it holds it


def _around_mean(
    values: Tensor, low: float, high: float, clusters: Tensor | None
) -> tuple[float, float, float]:
    """The mean of the values, and its interval within these limits."""
    mean, half = float(values.mean()), 0.0
    moved = values if clusters is None else cluster_influences(values, clusters, cut=False)
    if len(moved) > 1:
        half = NORMAL * float(moved.std()) / math.sqrt(len(values))
    return mean, max(mean - half, low), min(mean + half, high)


def _explained(predicted: Tensor, targets: Tensor, clusters: Tensor | None) -> Expected:
    """R2 against the mean of the other samples, averaged over columns that vary."""
    count = len(targets)
    others = (targets.sum(0) - targets) / max(count - 1, 1)
    missed, spread = (targets - predicted).square(), (targets - others).square()
    varies = spread.sum(0) > 0
    if not bool(varies.any()) or count < 2:
        return Expected(math.nan, math.nan, math.nan, 0.0, 0.0, count)
    missed, spread = missed[:, varies], spread[:, varies]
    ratio = missed.mean(0) / spread.mean(0)
    influence = 1 - ratio - (missed - ratio * spread) / spread.mean(0)  # of each sample on R2
    ends = _around_mean(influence.mean(1), -math.inf, 1, clusters)
    return Expected(*ends, 0.0, 0.0, count)


def name_of(task: Task | str) -> str:
    """What the value is called."""
    return "r2" if task == "regression" else "accuracy"
