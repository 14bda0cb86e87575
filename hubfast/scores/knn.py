"""k-NN: leave-one-out accuracy of the nearest neighbours in feature space.

Compared with other scores by Renggli et al., "Which Model to Transfer? Finding the Needle in the
Growing Haystack", CVPR 2022, and by Bolya et al., NeurIPS 2021.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from hubfast.ops import class_sums
from hubfast.scores.clustered import check_several, sizes_of
from hubfast.scores.fitted import SampleScore
from hubfast.scores.held_out import check_varies, margins_of, quality
from hubfast.scores.inputs import Task, as_features, as_targets
from hubfast.scores.left_out import group_influences, share_of_right
from hubfast.scores.own_order import order_free
from hubfast.scores.scale import of_ordinary_size
from hubfast.scores.score import ANY_TASK, Score

NEIGHBOURS = 5
ROUND_OFF = torch.finfo(torch.float64).eps  # bound on the error of a cosine, per feature
EQUAL_VOTES = 1e-9  # votes that differ by less are equal: the difference is round-off


def knn(features: Any, targets: Any, *, k: int = NEIGHBOURS, task: Task | None = None) -> float:
    """Accuracy of a vote among the k nearest other samples by cosine, or R^2 of their mean.

    Samples that are equally near, as binary or repeated features make them, share the places that
    they take among the k. Of classes with equal votes, the one with the nearest sample wins; if
    the nearest samples are equally near, too, a sample whose class is among c tied ones counts as
    1 / c right. So the order of the samples does not matter. Accuracy is between 0 and 1, R^2 at
    most 1; higher is better. It takes O(n^2) memory. It misleads where a class has fewer than
    k / 2 samples, and it takes steps of 1 / n, so that good models tie.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes for accuracy; `(n, C)` integers 0/1 (multi-label) or floats
            `(n,)` or `(n, C)` (regression) for R^2.
        k: Number of neighbours, from 1 to n - 1.
        task: What the targets are; None to tell from their dtype and shape.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or content; the message names it.
    """
    return fit_knn(features, targets, k=k, task=task).score


@order_free
def fit_knn(
    features: Any,
    targets: Any,
    *,
    k: int = NEIGHBOURS,
    task: Task | None = None,
    groups: Tensor | None = None,
    clusters: Tensor | None = None,
) -> SampleScore:
    """k-NN with the influence of each sample, which some others have among their nearest, too.

    Args:
        features: As in `knn`.
        targets: As in `knn`.
        k: As in `knn`.
        task: As in `knn`.
        groups: The group of each sample, `(n,)`, that are left out in turn; None draws them.
        clusters: Which samples belong together, `(n,)`, such as the words of a sentence: only
            samples of other clusters are neighbours. None where each is by itself.

    Raises:
        ValueError: All samples are of one cluster.
    """
    x = of_ordinary_size(as_features(features).double())
    y, task = as_targets(targets, len(x), task)
    if not 1 <= k < len(x):
        raise ValueError(f"k must be in 1..{len(x) - 1} for {len(x)} samples, got {k}")
    y = y.cpu()
    check_varies(y)
    check_several(clusters, "k-NN")
    owners = torch.arange(len(x), device="cpu") if clusters is None else clusters.cpu()
    cosines = (_unit(x) @ _unit(x).T).cpu().masked_fill_(owners[:, None] == owners, -torch.inf)

    def places(kept: Tensor) -> Iterator[Tensor]:
        among = cosines[kept][:, kept]
        others = len(among) - int(sizes_of(owners[kept]).max())  # of a sample of the largest one
        return equally_near(among, x.shape[1], min(k, others))

    def of_mean(mask: Tensor) -> float:
        return quality(mean(places(mask), y[mask]), y[mask])

    every = torch.ones(len(x), dtype=torch.bool, device="cpu")
    if task != "classification":
        score = of_mean(every)
        return SampleScore(score, group_influences(score, groups, of_mean))
    index = y.unique(return_inverse=True)[1]
    labels = one_hot(index).double()
    found = votes(places(every), labels)

    def again(mask: Tensor) -> Tensor:
        return margins_of(votes(places(mask), labels[mask]), index[mask])

    return share_of_right(rightness(found, labels), margins_of(found, index), groups, again)


def neighbours(features: Tensor, new: Tensor, k: int = NEIGHBOURS) -> Iterator[Tensor]:
    """Says, for each of the k places nearest to a new sample, which known samples hold it.

    Args:
        features: Features of the known samples, `(n, D)` float64.
        new: Features of the new samples, `(m, D)` float64.
        k: Number of places, at most n.

    Yields:
        One mask `(m, n)` per place, bool on the CPU, as `votes` and `mean` take them.
    """
    return equally_near((_unit(new) @ _unit(features).T).cpu(), features.shape[1], k)


def votes(places: Iterator[Tensor], labels: Tensor) -> Tensor:
    """Votes for each class, `(m, C)`.

    Args:
        places: What `neighbours` yields.
        labels: One-hot labels of the known samples, `(n, C)` float64.
    """
    # A place's extra weight exceeds that of all later places together, and all extra weights
    # together are less than one vote: they only decide between equal numbers of votes.
    shares = ((1 + 0.5 ** (p + 2)) * _mean_of(chosen, labels) for p, chosen in enumerate(places))
    return torch.stack(list(shares)).sum(0)


def mean(places: Iterator[Tensor], values: Tensor) -> Tensor:
    """Mean of the values at the k places, `(m, C)`.

    Args:
        places: What `neighbours` yields.
        values: Values of the known samples, `(n, C)` float64.
    """
    return torch.stack([_mean_of(chosen, values) for chosen in places]).mean(0)


def _unit(x: Tensor) -> Tensor:
    length = x.norm(dim=1, keepdim=True)
    return torch.where(length > 0, x / length, 0)


def equally_near(cosines: Tensor, width: int, k: int) -> Iterator[Tensor]:
    """Yields one mask `(m, n)` per place: which samples are as near as the one at that place.

    Args:
        cosines: Cosines of m samples with n others, `(m, n)` on the CPU; -inf leaves one out.
        width: Number of features that the cosines are of, for their round-off.
        k: Number of places.
    """
    same = ROUND_OFF * max(width, 16)
    for place in cosines.topk(k, dim=1).values.split(1, dim=1):
        yield (cosines >= place - same) & (cosines <= place + same)


def _mean_of(chosen: Tensor, values: Tensor) -> Tensor:
    """Mean of the rows of `values` `(n, C)` that each row of `chosen` `(m, n)` picks, `(m, C)`."""
    rows, columns = chosen.nonzero(as_tuple=True)
    sums = class_sums(values[columns], rows, len(chosen))
    return sums / chosen.sum(1, keepdim=True)


def rightness(found: Tensor, labels: Tensor) -> Tensor:
    """How right the votes `(n, C)` are about the class of each sample, labels one-hot, `(n,)`."""
    first = found >= found.amax(1, keepdim=True) - EQUAL_VOTES
    return (first * labels).sum(1) / first.sum(1)


SCORE = Score(
    name="knn",
    title="k-NN",
    unit="",
    range="accuracy, or R2",
    tasks=ANY_TASK,
    needs="samples",
    fit=fit_knn,
    leaves_out=True,
    meaning=(
        "k-NN is the share of samples whose class is that of most of their five nearest other "
        "samples by cosine (for regression and multi-label R² of their mean). Accuracy lies "
        "between 0 and 1, R² is at most 1, higher is better. It takes steps of "
        "1&thinsp;/&thinsp;<var>n</var>, so good models tie, and it misleads for classes of fewer "
        "than three samples."
    ),
    source=(
        "Renggli, Pinto, Rimanic, Puigcerver, Riquelme, Zhang, Lucic: <cite>Which Model to "
        "Transfer? Finding the Needle in the Growing Haystack</cite>, CVPR 2022. <a "
        'href="https://arxiv.org/abs/2010.06402" rel="noreferrer">arXiv:2010.06402</a>'
    ),
)
