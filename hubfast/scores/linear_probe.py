"""Linear probe: held-out accuracy of a linear head on frozen features."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hubfast.scores.clustered import by_appearance, check_several
from hubfast.scores.fitted import SampleScore
from hubfast.scores.held_out import check_varies, interleaved, margins_of, quality
from hubfast.scores.inputs import Task, as_features, as_targets
from hubfast.scores.left_out import group_influences, share_of_right
from hubfast.scores.own_order import order_free
from hubfast.scores.sample_score import compact, standardised
from hubfast.scores.scale import of_ordinary_size
from hubfast.scores.score import ANY_TASK, Score
from hubfast.scores.softmax_regression import SoftmaxHead, fit_head, principal_axes

FOLDS = 5
# Folds are drawn anew where R^2 is of few samples, whose interval would be too narrow without what
# the draw adds to its spread. Of more samples the groups that are left out make it wide enough.
FEW = 300  # samples
DRAWS = 3
TOLERANCE = 1e-5  # of the loss that another step would take off: predictions no longer change
REFITTED = 1e-3  # the same, of heads that only say how far the score spreads
PENALTIES = np.logspace(-3, 4, 15)  # of ridge, times n below


def linear_probe(features: Any, targets: Any, *, seed: int = 0, task: Task | None = None) -> float:
    """Cross-validated accuracy of logistic regression; R^2 of ridge regression else.

    Standardised features, five folds with classes in proportion, each sample predicted once by a
    head that has not seen it. Accuracy is between 0 and 1, R^2 at most 1; higher is better. It
    misleads where fine-tuning changes the features much; the strength of the penalty is fixed for
    classes (scikit-learn's C = 1). The slowest of the scores for many classes. Folds go by what
    the samples hold and `seed`, not by their order.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes; `(n, C)` 0/1 or floats for R^2.
        seed: Of the folds.
        task: As in `logme`.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return fit_linear_probe(features, targets, seed=seed, task=task).score


@order_free
def fit_linear_probe(
    features: Any,
    targets: Any,
    *,
    seed: int = 0,
    task: Task | None = None,
    groups: Tensor | None = None,
    clusters: Tensor | None = None,
) -> SampleScore:
    """The probe with each sample's influence, heads refitted without each of some groups.

    Args:
        features: As in `linear_probe`.
        targets: As in `linear_probe`.
        seed: As in `linear_probe`.
        task: As in `linear_probe`.
        groups: The group of each sample, `(n,)`; None draws them.
        clusters: Which samples belong together, `(n,)`, such as the words of a sentence: a fold
            holds whole ones, by a draw that does not look at classes. None where each is by itself.
    """
    x = of_ordinary_size(as_features(features).double().cpu())
    y, task = as_targets(targets, len(x), task)
    y = y.cpu()
    if len(x) < 2:
        raise ValueError("a linear probe needs at least 2 samples, got 1")
    check_several(clusters, "a linear probe")
    check_varies(y)
    classes = task == "classification"
    x = standardised(x)
    x = torch.from_numpy(principal_axes(x.numpy())) if classes else compact(x)
    probe = _Probe.fit(x, y, classes, seed, clusters)
    unfinished = sum(not head.converged for head in probe.heads)
    if unfinished:
        warnings.warn(
            f"linear_probe: {unfinished} of {FOLDS} heads were stopped before they had converged",
            stacklevel=3,
        )
    if classes:
        predicted, margins = probe.held_out()

        def again(mask: Tensor) -> Tensor:
            return probe.without(mask).held_out()[1][mask]

        return share_of_right((predicted == y).double(), margins, groups, again)
    return _of_regression(probe, seed, groups, clusters)


def _of_regression(
    probe: "_Probe", seed: int, groups: Tensor | None, clusters: Tensor | None
) -> SampleScore:
    score, noise = probe.quality(), 0.0
    if len(probe.x) < FEW:
        others = range(seed + 1, seed + DRAWS)
        fits = (_Probe.fit(probe.x, probe.y, False, other, clusters) for other in others)
        drawn = [fit.quality() for fit in fits]
        noise = float(np.var([score, *drawn], ddof=1))

    def without(mask: Tensor) -> float:
        return probe.without(mask).quality(mask)

    return SampleScore(score, group_influences(score, groups, without, noise=noise))


@dataclass(frozen=True, eq=False)
class _Probe:
    """A head for each fold of the samples, fitted to the other folds."""

    x: Tensor
    y: Tensor
    fold: Tensor
    heads: "Sequence[_Head]"

    @classmethod
    def fit(
        cls, x: Tensor, y: Tensor, classes: bool, seed: int, clusters: Tensor | None
    ) -> "_Probe":
        if clusters is None:
            fold = interleaved(y if classes else None, len(x), FOLDS, seed)
        else:
            which = by_appearance(clusters)
            fold = interleaved(None, int(which.max()) + 1, FOLDS, seed)[which]
        kind: type[_ClassHead | _Ridge] = _ClassHead if classes else _Ridge
        heads = [kind.fit(x, y, fold != held) for held in range(int(fold.max()) + 1)]
        return cls(x, y, fold, heads)

    def without(self, kept: Tensor) -> "_Probe":
        """The probe of the samples where a mask is True, which still predicts all of them."""
        heads = [h.again(self.x, self.y, kept & (self.fold != i)) for i, h in enumerate(self.heads)]
        return replace(self, heads=heads)

    def held_out(self) -> tuple[Tensor, Tensor]:
        """What the heads predict of the samples that they have not seen, and the margins."""
        found = torch.empty_like(self.y)
        margins = torch.empty(len(self.x), dtype=torch.float64, device="cpu")
        for held, head in enumerate(self.heads):
            new = self.fold == held
            found[new], margins[new] = head.predict(self.x[new], self.y[new])
        return found, margins

    def quality(self, kept: Tensor | None = None) -> float:
        """R^2 of what is predicted of the samples where a mask is True, by default of all."""
        mask = slice(None) if kept is None else kept
        return quality(self.held_out()[0][mask], self.y[mask])


class _Head(Protocol):
    """A head fitted to some of the samples."""

    @property
    def converged(self) -> bool:
        """Whether the fit came to its end."""
        ...

    def predict(self, new: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """What is predicted of rows `(m, r)`, and by how much it is right.

        Args:
            new: The rows.
            targets: Their targets.

        Returns:
            Class ids `(m,)` and the margin of each sample's class `(m,)`, or target columns
            `(m, C)` and zeros.
        """
        ...

    def again(self, x: Tensor, y: Tensor, kept: Tensor) -> "_Head":
        """The head of the samples where a mask is True, most of those that this one is of."""
        ...


@dataclass(frozen=True, eq=False)
class _ClassHead:
    classes: Tensor
    head: SoftmaxHead
    scale: float

    @classmethod
    def fit(cls, x: Tensor, y: Tensor, kept: Tensor) -> "_ClassHead":
        classes = y[kept].unique()
        # scikit-learn's penalty is on the difference of two classes' weights.
        scale = math.sqrt(0.5) if len(classes) == 2 else 1.0
        labels = torch.searchsorted(classes, y[kept])
        rows = (x[kept] * scale).numpy()
        return cls(classes, fit_head(rows, labels.numpy(), len(classes), TOLERANCE), scale)

    @property
    def converged(self) -> bool:
        return self.head.converged

    def predict(self, new: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.from_numpy(self.head.log_probabilities((new * self.scale).numpy()))
        known = torch.isin(targets, self.classes)
        labels = torch.where(known, torch.searchsorted(self.classes, targets), -1)
        return self.classes[scores.argmax(1)], margins_of(scores, labels)

    def again(self, x: Tensor, y: Tensor, kept: Tensor) -> "_ClassHead":
        rows, labels = (x[kept] * self.scale).numpy(), torch.searchsorted(self.classes, y[kept])
        head = fit_head(rows, labels.numpy(), len(self.classes), REFITTED, self.head)
        return _ClassHead(self.classes, head, self.scale)


@dataclass(frozen=True, eq=False)
class _Ridge:
    """Ridge regression, each target column with a penalty of its own."""

    head: Any
    converged: bool = True

    @classmethod
    def fit(cls, x: Tensor, y: Tensor, kept: Tensor) -> "_Ridge":
        from sklearn.linear_model import RidgeCV  # slow to import

        head = RidgeCV(int(kept.sum()) * PENALTIES, alpha_per_target=True)
        return cls(head.fit(x[kept].numpy(), y[kept].numpy()))

    def predict(self, new: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.from_numpy(self.head.predict(new.numpy())).reshape(targets.shape)
        return found, torch.zeros(len(new), dtype=torch.float64, device="cpu")

    def again(self, x: Tensor, y: Tensor, kept: Tensor) -> "_Ridge":
        from sklearn.linear_model import Ridge  # slow to import

        return _Ridge(Ridge(self.head.alpha_).fit(x[kept].numpy(), y[kept].numpy()))


SCORE = Score(
    name="linear_probe",
    title="Linear probe",
    unit="",
    range="accuracy, or R2",
    tasks=ANY_TASK,
    needs="samples",
    fit=fit_linear_probe,
    leaves_out=True,
    meaning=(
        "The linear probe is the accuracy of logistic regression on standardised features by "
        "five-fold cross-validation (for regression and multi-label R² of ridge regression). "
        "Accuracy lies between 0 and 1, R² is at most 1, higher is better. It says what the "
        "frozen features give, not what fine-tuning makes of them."
    ),
    source=(
        "Kornblith, Shlens, Le: <cite>Do Better ImageNet Models Transfer Better?</cite>, CVPR "
        '2019. <a href="https://arxiv.org/abs/1805.08974" rel="noreferrer">arXiv:1805.08974</a>'
    ),
)
