"""Linear probe: held-out accuracy of a linear head on frozen features."""

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.scores.fitted import SampleScore
from hubfast.scores.held_out import interleaved, quality
from hubfast.scores.inputs import Task, as_features, as_targets
from hubfast.scores.own_order import order_free
from hubfast.scores.sample_score import compact, standardised
from hubfast.scores.scale import of_ordinary_size
from hubfast.scores.score import ANY_TASK, Score
from hubfast.scores.softmax_regression import fit_head, principal_axes

FOLDS = 5
TOLERANCE = 1e-5  # of the loss that another step would take off: predictions no longer change
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
    features: Any, targets: Any, *, seed: int = 0, task: Task | None = None
) -> SampleScore:
    """The probe with each sample's influence; arguments as in `linear_probe`."""
    x = of_ordinary_size(as_features(features).double().cpu())
    y, task = as_targets(targets, len(x), task)
    y = y.cpu()
    if len(x) < 2:
        raise ValueError("a linear probe needs at least 2 samples, got 1")
    x = standardised(x)
    x = torch.from_numpy(principal_axes(x.numpy())) if task == "classification" else compact(x)
    fold = interleaved(y if task == "classification" else None, len(x), FOLDS, seed)
    predicted = torch.empty_like(y)
    unfinished = 0
    for held in range(min(FOLDS, len(x))):
        test = fold == held
        if task == "classification":
            predicted[test], converged = _classify(x[~test], y[~test], x[test])
            unfinished += not converged
        else:
            predicted[test] = _regress(x[~test], y[~test], x[test])
    if unfinished:
        warnings.warn(
            f"linear_probe: {unfinished} of {FOLDS} heads were stopped before they had converged",
            stacklevel=3,
        )
    return quality(predicted, y)


def _classify(x: Tensor, y: Tensor, new: Tensor) -> tuple[Tensor, bool]:
    """Classes of `new` by a head fitted to `x`, and whether the fit converged."""
    classes, labels = y.unique(return_inverse=True)
    if len(classes) == 2:  # scikit-learn's penalty is on the difference of two classes' weights
        x, new = x / math.sqrt(2), new / math.sqrt(2)
    head = fit_head(x.numpy(), labels.numpy(), len(classes), TOLERANCE)
    return classes[torch.from_numpy(head.predict(new.numpy()))], head.converged


def _regress(x: Tensor, y: Tensor, new: Tensor) -> Tensor:
    """Target columns of `new` by ridge regression on `x`, each with a penalty of its own."""
    from sklearn.linear_model import RidgeCV  # slow to import

    head = RidgeCV(len(x) * PENALTIES, alpha_per_target=True).fit(x.numpy(), y.numpy())
    return torch.from_numpy(head.predict(new.numpy())).reshape(len(new), *y.shape[1:])


SCORE = Score(
    name="linear_probe",
    title="Linear probe",
    unit="",
    range="accuracy, or R2",
    tasks=ANY_TASK,
    needs="samples",
    fit=fit_linear_probe,
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
