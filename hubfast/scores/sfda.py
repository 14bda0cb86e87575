"""SFDA: log-likelihood of a Fisher discriminant on features that it has made harder itself.

Shao, Zhao, Ge, Zhang, Yang, Wang, Shan, Luo: "Not All Models Are Equal: Predicting Model
Transferability in a Self-challenging Fisher Space", ECCV 2022.
"""

import math
from typing import Any

import torch
from torch import Tensor

from hubfast.ops import class_sums
from hubfast.scores.fitted import SampleScore
from hubfast.scores.left_out import fitted_anew
from hubfast.scores.own_order import order_free
from hubfast.scores.sample_score import class_problem, compact
from hubfast.scores.scale import check_squares
from hubfast.scores.score import CLASSES, NATS, Score
from hubfast.utils.threads import one_torch_thread

STRENGTH = 5.0  # a of the shrinkage exp(-a sigma), the paper's
SMALLEST = 1e-10  # shrinkage, that of the authors' code
FLOOR = 1e-10  # of the features' variance: classes at points still have a likelihood

CERTAIN = 1e-9  # below, a likelihood's order between models is round-off


def sfda(features: Any, targets: Any) -> float:
    """Mean log-likelihood of the targets under SFDA.

    A linear discriminant on within-class scatter shrunk by exp(-5 sigma), sigma its largest
    eigenvalue; then every sample is mixed with the mean of the other classes, the more the less
    sure the discriminant is of it, and the discriminant fitted again. As in the authors' code,
    the probabilities that mix are softened by a second softmax; as in the paper, the score is the
    mean logarithm, where the code averages the probability itself.

    At most 0, higher is better. It misleads where features of different models have different
    scales, as the shrinkage depends on theirs, and where n is below D: all models then separate
    all samples.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return fit_sfda(features, targets).score


@order_free
@one_torch_thread()
def fit_sfda(features: Any, targets: Any, *, groups: Tensor | None = None) -> SampleScore:
    """SFDA with each sample's influence, fitted anew without each of some groups.

    Args:
        features: As in `sfda`.
        targets: As in `sfda`.
        groups: The group of each sample, `(n,)`; None draws them.
    """
    x, index, _ = class_problem(features, targets, "SFDA")
    check_squares(x, "SFDA")
    width = x.shape[1]
    x = compact(x)

    def of(mask: Tensor) -> float:
        kept = mask.to(x.device)
        return _score(x[kept], index[kept].unique(return_inverse=True)[1], width)

    return fitted_anew(groups, of)


def _score(x: Tensor, index: Tensor, width: int) -> float:
    """SFDA of features `(n, D)`, compact, of D = `width`; NaN for one class."""
    classes = int(index.max()) + 1
    if classes < 2:
        return math.nan
    within = _within(x, index, classes)
    largest = float(torch.linalg.eigvalsh(within)[-1])
    shrinkage = max(math.exp(-STRENGTH * largest), SMALLEST)
    sure = _log_posterior(x, index, classes, shrinkage, width).softmax(1).exp()
    own = sure.gather(1, index[:, None]) / sure.sum(1, keepdim=True)

    means = _means(x, index, classes)
    others = (means.sum(0) - means) / (classes - 1)
    mixed = own * x + (1 - own) * others[index]
    found = _log_posterior(mixed, index, classes, shrinkage, width)
    likelihood = found.log_softmax(1).gather(1, index[:, None])[:, 0]
    return float(torch.where(likelihood > -CERTAIN, 0, likelihood).mean())


def _means(x: Tensor, index: Tensor, classes: int) -> Tensor:
    return class_sums(x, index, classes) / index.bincount(minlength=classes)[:, None]


def _within(x: Tensor, index: Tensor, classes: int) -> Tensor:
    """Within-class scatter over n."""
    centred = x - _means(x, index, classes)[index]
    return centred.T @ centred / len(x)


def _log_posterior(x: Tensor, index: Tensor, classes: int, shrinkage: float, width: int) -> Tensor:
    """x'W m_c - m_c'W m_c / 2 + log q_c with W the inverse shrunk scatter, `(n, C)`.

    With all its directions U the Fisher projection is UU' = W, so none has to be found.
    """
    shares = index.bincount(minlength=classes).double() / len(x)
    within = _within(x, index, classes)
    variance = float((x - x.mean(0)).square().sum()) / len(x) / width
    if variance == 0:
        return shares.log().expand(len(x), classes)
    level = shrinkage * float(within.trace()) / width + FLOOR * variance
    eye = torch.eye(len(within), dtype=x.dtype, device=x.device)
    factor = torch.linalg.cholesky((1 - shrinkage) * within + level * eye)
    means = _means(x, index, classes)
    weights = torch.cholesky_solve((means - x.mean(0)).T, factor)  # centred: no cancellation
    offsets = ((means - x.mean(0)) * weights.T).sum(1) / 2
    return (x - x.mean(0)) @ weights - offsets + shares.log()


def _too_few(count: int, width: int) -> str:
    too_few = count <= width
    return "with n <= D every model separates all samples, and it is near 0" if too_few else ""


SCORE = Score(
    name="sfda",
    title="SFDA",
    unit=NATS,
    range="nats, at most 0",
    tasks=CLASSES,
    needs="samples",
    fit=fit_sfda,
    leaves_out=True,
    silence=_too_few,
    growth="late",
    meaning=(
        "SFDA is the mean log-likelihood of a linear discriminant with shrunk covariance, fitted "
        "a second time after each sample was mixed with the means of the other classes, the more "
        "the less sure the first fit was. In nats per sample, at most 0, higher is better. Its "
        "shrinkage depends on the scale of the features, which differs between models, and with "
        "fewer samples than features every model separates the classes."
    ),
    source=(
        "Shao, Zhao, Ge, Zhang, Yang, Wang, Shan, Luo: <cite>Not All Models Are Equal: Predicting "
        "Model Transferability in a Self-challenging Fisher Space</cite>, ECCV 2022. <a "
        'href="https://arxiv.org/abs/2207.03036" rel="noreferrer">arXiv:2207.03036</a>'
    ),
)
