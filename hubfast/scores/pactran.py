"""PACTran: a PAC-Bayesian bound on the loss of a linear head.

Ding, Chen, Levinboim, Changpinyo, Soricut: "PACTran: PAC-Bayesian Metrics for Estimating the
Transferability of Pretrained Models to Classification Tasks", ECCV 2022; the Gaussian metric.
"""

from typing import Any

import numpy as np
from torch import Tensor

from hubfast.scores.fitted import SampleScore
from hubfast.scores.left_out import group_influences
from hubfast.scores.own_order import order_free
from hubfast.scores.sample_score import class_problem
from hubfast.scores.scale import check_squares
from hubfast.scores.score import CLASSES, NATS, Score
from hubfast.scores.softmax_regression import SoftmaxHead, fit_head, principal_axes

TOLERANCE = 1e-10  # of the loss that another step would take off
REFITTED = 1e-5  # the same, of heads that only say how far the score spreads


def pactran(features: Any, targets: Any) -> float:
    """Minus the PACTran-Gaussian bound.

    min over heads W, b of the mean cross-entropy R + |W|^2 / (2 beta sigma_0^2), plus
    C D / (2 beta) log(1 + beta sigma_0^2 / (C D) tr(Hessian of R)), with beta sigma_0^2 = n (the
    authors' code tries n / 10, n and 10 n) and sigma_0^2 = 1 / D. In nats per sample, at most 0,
    higher is better. R is the mean over samples in all of it; the authors' code leaves 1 / n out of
    the Hessian. It misleads where features of different models have different scales: the prior on
    W is the same for all.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return fit_pactran(features, targets).score


@order_free
def fit_pactran(features: Any, targets: Any, *, groups: Tensor | None = None) -> SampleScore:
    """PACTran with each sample's influence, heads refitted without each of some groups.

    Args:
        features: As in `pactran`.
        targets: As in `pactran`.
        groups: The group of each sample, `(n,)`; None draws them.
    """
    x, index, classes = class_problem(features, targets, "PACTran")
    check_squares(x, "PACTran")
    lengths = x.cpu().square().sum(1).numpy() + 1  # with the bias
    rows, labels = principal_axes(x.cpu().numpy()), index.cpu().numpy()
    head = fit_head(rows, labels, classes, TOLERANCE)

    def bound(kept: np.ndarray, head: SoftmaxHead) -> float:
        return _bound(rows[kept], labels[kept], lengths[kept], head, x.shape[1])

    def without(mask: Tensor) -> float:
        kept = mask.numpy()
        return bound(kept, fit_head(rows[kept], labels[kept], classes, REFITTED, head))

    score = bound(np.full(len(rows), True), head)
    return SampleScore(score, group_influences(score, groups, without))


def _bound(
    rows: np.ndarray, labels: np.ndarray, lengths: np.ndarray, head: SoftmaxHead, width: int
) -> float:
    log_p = head.log_probabilities(rows)
    count, classes = log_p.shape
    loss = -log_p[np.arange(count), labels].mean()
    penalty = float((head.weights**2).sum()) / (2 * count)
    p = np.exp(log_p)
    curvature = lengths @ (p * (1 - p)).sum(1) / count
    flatness = classes / (2 * count) * np.log1p(curvature / (classes * width) * count)
    return -float(loss + penalty + flatness)


SCORE = Score(
    name="pactran",
    title="PACTran",
    unit=NATS,
    range="nats, at most 0",
    tasks=CLASSES,
    needs="samples",
    fit=fit_pactran,
    leaves_out=True,
    growth="late",
    meaning=(
        "PACTran is minus a PAC-Bayesian bound on the loss of a linear head: its best penalised "
        "cross-entropy and a term for how sharp that minimum is. In nats per sample, at most 0, "
        "higher is better. The prior on the head is the same for all models, so the scale of "
        "their features matters."
    ),
    source=(
        "Ding, Chen, Levinboim, Changpinyo, Soricut: <cite>PACTran: PAC-Bayesian Metrics for "
        "Estimating the Transferability of Pretrained Models to Classification Tasks</cite>, ECCV "
        '2022. <a href="https://arxiv.org/abs/2203.05126" rel="noreferrer">arXiv:2203.05126</a>'
    ),
)
