"""TransRate: how many bits the classes take off the coding rate of the features.

Huang, Huang, Rong, Yang, Wei: "Frustratingly Easy Transferability Estimation", ICML 2022.
"""

from typing import Any

import torch
from torch import Tensor

from hubfast.scores.fitted import SampleScore
from hubfast.scores.own_order import order_free
from hubfast.scores.sample_score import by_weights, centred, class_problem, compact
from hubfast.scores.scale import of_ordinary_size
from hubfast.scores.score import CLASSES, Score
from hubfast.utils.threads import one_torch_thread

DISTORTION = 1e-4  # the paper's


def transrate(features: Any, targets: Any) -> float:
    """TransRate: R(Z) - sum_c n_c / n R(Z_c), R(Z) = 1/2 log det(I + Z'Z / (n eps)), eps = 1e-4.

    Z are the centred features, divided by their Frobenius norm so that their scale does not
    matter; code in circulation leaves that out, or averages classes without weights. In nats, at
    least 0, higher is better. It misleads where n differs, as the distortion is then another one,
    and it favours wide features: each direction adds its share.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return fit_transrate(features, targets).score


@torch.inference_mode(False)  # it takes gradients
@order_free
@one_torch_thread()
def fit_transrate(features: Any, targets: Any) -> SampleScore:
    """TransRate with each sample's influence; arguments as in `transrate`."""
    x, index, classes = class_problem(features, targets, "TransRate")
    x = compact(centred(of_ordinary_size(x)))
    count = len(x)
    if not bool(x.any()):
        return SampleScore(0.0, torch.zeros(count, dtype=torch.float64, device="cpu"))
    x = x / x.norm()
    members = [(index == c).nonzero().flatten() for c in range(classes)]

    def score(weights: Tensor) -> Tensor:
        moved = x - weights @ x
        spread = count * weights @ moved.square().sum(1)  # 1 for equal weights
        whole = _rate(moved, weights / spread)
        for rows in members:
            share = weights[rows].sum()
            whole = whole - share * _rate(moved[rows], weights[rows] / (share * spread))
        return whole

    return by_weights(score, count, x.device)


def _rate(rows: Tensor, weights: Tensor) -> Tensor:
    """1/2 log det(I + sum of w x x' / eps), by the smaller side."""
    scaled = rows * (weights / DISTORTION).sqrt()[:, None]
    small = scaled @ scaled.T if len(scaled) < scaled.shape[1] else scaled.T @ scaled
    eye = torch.eye(len(small), dtype=small.dtype, device=small.device)
    return 0.5 * torch.linalg.slogdet(eye + small).logabsdet


SCORE = Score(
    name="transrate",
    title="TransRate",
    unit="nats",
    range="nats, at least 0",
    tasks=CLASSES,
    needs="samples",
    fit=fit_transrate,
    meaning=(
        "TransRate is by how much knowing the classes lowers the coding rate of the features, "
        "½&nbsp;log&nbsp;det(I&nbsp;+&nbsp;<var>Z</var>&prime;<var>Z</var>&thinsp;/&thinsp;"
        "(<var>n</var>&thinsp;ε)), "
        "ε&nbsp;=&nbsp;10⁻⁴, the features centred and scaled to unit norm. In nats, at least 0, "
        "higher is better. It favours wide features, and its size depends on the number of "
        "samples."
    ),
    source=(
        "Huang, Huang, Rong, Yang, Wei: <cite>Frustratingly Easy Transferability "
        'Estimation</cite>, ICML 2022. <a href="https://arxiv.org/abs/2106.09362" '
        'rel="noreferrer">arXiv:2106.09362</a>'
    ),
)
