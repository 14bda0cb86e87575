"""PACTran: a PAC-Bayesian bound on the loss of a linear head.

Ding, Chen, Levinboim, Changpinyo, Soricut: "PACTran: PAC-Bayesian Metrics for Estimating the
Transferability of Pretrained Models to Classification Tasks", ECCV 2022; the Gaussian metric.
"""

from typing import Any

import numpy as np
import torch

from hubfast.scores.fitted import SampleScore
from hubfast.scores.own_order import order_free
from hubfast.scores.sample_score import class_problem
from hubfast.scores.scale import check_squares
from hubfast.scores.score import CLASSES, NATS, Score
from hubfast.scores.softmax_regression import fit_head, principal_axes

TOLERANCE = 1e-10  # of the loss that another step would take off


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
def fit_pactran(features: Any, targets: Any) -> SampleScore:
    """PACTran with each sample's influence, the head as given; arguments as in `pactran`."""
    x, index, classes = class_problem(features, targets, "PACTran")
    check_squares(x, "PACTran")
    count, width = x.shape
    x = x.cpu()
    rows, labels = principal_axes(x.numpy()), index.cpu().numpy()
    head = fit_head(rows, labels, classes, TOLERANCE)
    log_p = head.log_probabilities(rows)
    losses = -log_p[np.arange(count), labels]
    penalty = float((head.weights**2).sum()) / (2 * count)
    p = np.exp(log_p)
    lengths = x.square().sum(1).numpy() + 1  # with the bias
    curvature = lengths @ (p * (1 - p)).sum(1) / count
    flatness = classes / (2 * count) * np.log1p(curvature / (classes * width) * count)
    score = -(losses.mean() + penalty + flatness)
    return SampleScore(float(score), torch.from_numpy(score + losses.mean() - losses))


SCORE = Score(
    name="pactran",
    title="PACTran",
    unit=NATS,
    range="nats, at most 0",
    tasks=CLASSES,
    needs="samples",
    fit=fit_pactran,
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
