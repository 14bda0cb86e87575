"""N-LEEP: LEEP with the clusters of a Gaussian mixture in place of source classes.

Li, Jia, Sang, Zhu, Green, Wang, Gong: "Ranking Neural Checkpoints", CVPR 2021.
"""

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.scores.fitted import SampleScore
from hubfast.scores.leep import LEEP
from hubfast.scores.left_out import group_influences
from hubfast.scores.own_order import order_free
from hubfast.scores.sample_score import class_problem, principal_components
from hubfast.scores.scale import of_ordinary_size
from hubfast.scores.score import CLASSES, NATS, Score

VARIANCE = 0.8  # the share that the principal components keep
COMPONENTS_PER_CLASS = 5
SAMPLES_PER_COMPONENT = 5  # at least: with fewer, a cluster is a sample and the score is 0


def n_leep(features: Any, targets: Any, *, seed: int = 0) -> float:
    """LEEP of the posteriors of a Gaussian mixture fitted to the features.

    Principal components that hold 80 % of the variance; five Gaussians a class, at most n / 5,
    with diagonal covariances (full ones have more parameters than there are samples, and take
    minutes). Between -H(y) and 0, higher is better. It needs no source classifier. It misleads
    with few samples a cluster, which then predicts its own, and depends on where the fit starts.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes.
        seed: Of the mixture's start.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return fit_n_leep(features, targets, seed=seed).score


@order_free
def fit_n_leep(
    features: Any, targets: Any, *, seed: int = 0, groups: Tensor | None = None
) -> SampleScore:
    """N-LEEP with each sample's influence, mixtures refitted without each of some groups.

    Args:
        features: As in `n_leep`.
        targets: As in `n_leep`.
        seed: As in `n_leep`.
        groups: The group of each sample, `(n,)`; None draws them.
    """
    x, index, classes = class_problem(features, targets, "N-LEEP")
    x = of_ordinary_size(x)
    rows, labels = _scaled(principal_components(x, VARIANCE)), index.cpu()
    clusters = max(1, min(COMPONENTS_PER_CLASS * classes, len(x) // SAMPLES_PER_COMPONENT))
    mixture = _fitted(rows, clusters, seed)

    def without(mask: Tensor) -> float:
        kept = rows[mask.numpy()]
        if len(kept) < clusters:  # without one long sentence, say
            return math.nan
        return _leep(_fitted(kept, clusters, seed, mixture), kept, labels[mask])

    score = _leep(mixture, rows, labels)
    return SampleScore(score, group_influences(score, groups, without))


def _scaled(reduced: Tensor) -> np.ndarray:
    """Rows of a mean square of 1: what scikit-learn adds to variances is absolute."""
    scale = float(reduced.square().mean()) ** 0.5 or 1.0
    return (reduced / scale).cpu().numpy()


def _fitted(rows: np.ndarray, clusters: int, seed: int, start: Any = None) -> Any:
    """A mixture of Gaussians; from one of most of the same samples few steps are left."""
    from sklearn.exceptions import ConvergenceWarning  # slow to import
    from sklearn.mixture import GaussianMixture

    begin = (
        {}
        if start is None
        else {
            "weights_init": start.weights_ / start.weights_.sum(),
            "means_init": start.means_,
            "precisions_init": start.precisions_,
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # any mixture is a valid source
        mixture = GaussianMixture(clusters, covariance_type="diag", random_state=seed, **begin)
        return mixture.fit(rows)


def _leep(mixture: Any, rows: np.ndarray, labels: Tensor) -> float:
    """LEEP of P(cluster | sample)."""
    return LEEP.fit(torch.from_numpy(mixture.predict_proba(rows)), labels).score


def _one_cluster(count: int, width: int) -> str:
    few = count < 2 * SAMPLES_PER_COMPONENT
    return "with n < 10 there is one cluster, and it is -H(y) for every model" if few else ""


SCORE = Score(
    name="n_leep",
    title="N-LEEP",
    unit=NATS,
    range="-H(y) to 0",
    tasks=CLASSES,
    needs="samples",
    fit=fit_n_leep,
    leaves_out=True,
    silence=_one_cluster,
    growth="late",
    meaning=(
        "N-LEEP is LEEP with the clusters of a Gaussian mixture on the features in place of "
        "source classes: 80&nbsp;% of the variance in principal components, five diagonal "
        "Gaussians a class, at most <var>n</var>&nbsp;/&nbsp;5. In nats per sample, between "
        "&minus;H(<var>y</var>) and 0, higher is better. It needs no source classifier. With few "
        "samples a cluster it predicts its own samples and is too high, and it depends on where "
        "the fit starts."
    ),
    source=(
        "Li, Jia, Sang, Zhu, Green, Wang, Gong: <cite>Ranking Neural Checkpoints</cite>, CVPR "
        '2021. <a href="https://arxiv.org/abs/2011.11200" rel="noreferrer">arXiv:2011.11200</a>'
    ),
)
