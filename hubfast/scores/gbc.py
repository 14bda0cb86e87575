"""GBC: how little the classes overlap, each a Gaussian in feature space.

Pandy, Agostinelli, Uijlings, Ferrari, Mensink: "Transferability Estimation using Bhattacharyya
Class Separability", CVPR 2022.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from hubfast.scores.fitted import SampleScore
from hubfast.scores.left_out import fitted_anew
from hubfast.scores.own_order import order_free
from hubfast.scores.sample_score import class_problem, compact, principal_components
from hubfast.scores.scale import of_ordinary_size
from hubfast.scores.score import CLASSES, Score

COMPONENTS = 64  # the paper's principal components
FEW = 10 * COMPONENTS  # samples, whose components move when some of them are left out
FLOOR = 1e-12  # of the total variance: a class at one point has a variance, too


def gbc(features: Any, targets: Any) -> float:
    """Minus the sum over ordered pairs of classes of their Bhattacharyya coefficient.

    Features are reduced to 64 principal components, each class is a Gaussian with a spherical
    covariance. Between -C (C - 1) and 0, higher is better. It misleads for classes of few samples
    (a single one takes the variance of the others) and for classes that are not round.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return fit_gbc(features, targets).score


@order_free
def fit_gbc(features: Any, targets: Any, *, groups: Tensor | None = None) -> SampleScore:
    """GBC with each sample's influence, taken anew without each of some groups.

    Of many samples the components stay, which hardly move: they are what takes long.

    Args:
        features: As in `gbc`.
        targets: As in `gbc`.
        groups: The group of each sample, `(n,)`; None draws them.
    """
    x, index, _ = class_problem(features, targets, "GBC")
    x = of_ordinary_size(x)
    anew = len(x) <= FEW
    x = compact(x) if anew else principal_components(x, COMPONENTS)

    def of(mask: Tensor) -> float:
        kept = mask.to(x.device)
        rows = principal_components(x[kept], COMPONENTS) if anew else x[kept]
        return _score(rows, index[kept].unique(return_inverse=True)[1])

    return fitted_anew(groups, of)


def _score(x: Tensor, index: Tensor) -> float:
    """GBC of principal components `(n, k)` and class indices of which each is there."""
    x = x / (float(x.square().mean()) or 1.0) ** 0.5
    count, width = x.shape
    sizes = index.bincount().double()
    membership = one_hot(index).double()
    means = membership.T @ x / sizes[:, None]
    around = membership.T @ x.square().sum(1) / sizes - means.square().sum(1)
    spread = around * sizes / (sizes - 1).clamp(min=1) / width  # unbiased
    pooled = around @ sizes / max(count - len(sizes), 1) / width
    spread = torch.where(sizes == 1, pooled, spread).clamp(min=FLOOR)
    return -float(_overlaps(means, spread, width))


def _overlaps(means: Tensor, spread: Tensor, width: int) -> Tensor:
    """Sum of exp(-D_B) over ordered pairs of different classes."""
    classes = len(means)
    first, second = torch.triu_indices(classes, classes, 1, device=means.device)
    average = (spread[first] + spread[second]) / 2
    apart = (means[first] - means[second]).square().sum(1) / average / 8
    shape = average.log() - (spread[first].log() + spread[second].log()) / 2
    return 2 * (-apart - width / 2 * shape).exp().sum()


SCORE = Score(
    name="gbc",
    title="GBC",
    unit="",
    range="-C (C - 1) to 0",
    tasks=CLASSES,
    needs="samples",
    fit=fit_gbc,
    leaves_out=True,
    meaning=(
        "GBC is minus the sum of the Bhattacharyya coefficients of all ordered pairs of classes, "
        "each a round Gaussian in 64 principal components. It has no unit, lies between "
        "&minus;C(C&nbsp;&minus;&nbsp;1) and 0, and higher is better. It misleads for classes of "
        "few samples and for classes that are not round."
    ),
    source=(
        "Pándy, Agostinelli, Uijlings, Ferrari, Mensink: <cite>Transferability Estimation using "
        "Bhattacharyya Class Separability</cite>, CVPR 2022. <a "
        'href="https://arxiv.org/abs/2111.12780" rel="noreferrer">arXiv:2111.12780</a>'
    ),
)
