"""PACTran: a PAC-Bayesian bound on the loss of a linear head.

Ding, Chen, Levinboim, Changpinyo, Soricut: "PACTran: PAC-Bayesian Metrics for Estimating the
Transferability of Pretrained Models to Classification Tasks", ECCV 2022; the Gaussian metric.
"""

from typing import Any

import numpy as np
import torch

from hubfast.scores.sample_score import SampleScore, class_problem, compact

PRIOR = 1.0  # beta sigma_0^2 / n; the authors' code tries 0.1, 1 and 10
ITERATIONS = 1000


def pactran(features: Any, targets: Any) -> float:
    """Minus the PACTran-Gaussian bound.

    min over heads W, b of the mean cross-entropy R + |W|^2 / (2 beta sigma_0^2), plus
    C D / (2 beta) log(1 + beta sigma_0^2 / (C D) tr(Hessian of R)), with beta sigma_0^2 = n and
    sigma_0^2 = 1 / D. In nats per sample, at most 0, higher is better. R is the mean over
    samples in all of it; the authors' code leaves 1 / n out of the Hessian. It misleads where
    features of different models have different scales: the prior on W is the same for all.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return fit_pactran(features, targets).score


def fit_pactran(features: Any, targets: Any) -> SampleScore:
    """PACTran with each sample's influence, the head as given; arguments as in `pactran`."""
    x, index, classes = class_problem(features, targets, "PACTran")
    width = x.shape[1]
    rows, labels = compact(x).cpu().numpy(), index.cpu().numpy()
    count = len(rows)
    strength = PRIOR * count  # beta sigma_0^2
    log_p, penalty = _head(rows, labels, classes, strength)
    losses = -log_p[np.arange(count), labels]
    p = np.exp(log_p)
    curvature = ((rows**2).sum(1) + 1) @ (p * (1 - p)).sum(1) / count  # with the bias
    flatness = classes / (2 * strength) * np.log1p(strength / (classes * width) * curvature)
    score = -(losses.mean() + penalty + flatness)
    return SampleScore(float(score), torch.from_numpy(score + losses.mean() - losses))


def _head(
    x: np.ndarray, labels: np.ndarray, classes: int, strength: float
) -> tuple[np.ndarray, float]:
    """Log-probabilities (n, C) of the best head, and |W|^2 / (2 strength)."""
    from scipy.optimize import minimize  # slow to import
    from scipy.special import log_softmax

    count, width = x.shape
    one_hot = np.eye(classes)[labels]
    # Steps in units in which features have unit variance: the same minimum, reached sooner.
    scale = np.sqrt((x**2).mean()) or 1.0

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        head = flat.reshape(width + 1, classes)
        weights = head[:width] / scale
        log_p = log_softmax(x @ weights + head[width], axis=1)
        error = (np.exp(log_p) - one_hot) / count
        value = -(log_p * one_hot).sum() / count + (weights**2).sum() / (2 * strength)
        down = (x.T @ error + weights / strength) / scale
        return value, np.concatenate([down, error.sum(0)[None]]).ravel()

    start = np.zeros((width + 1) * classes)
    options = {"maxiter": ITERATIONS, "maxcor": 20, "ftol": 1e-12, "gtol": 1e-7}
    head = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    head = head.reshape(width + 1, classes)
    weights = head[:width] / scale
    penalty = float((weights**2).sum() / (2 * strength))
    return log_softmax(x @ weights + head[width], axis=1), penalty
