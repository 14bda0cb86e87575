"""Linear probe: held-out accuracy of a linear head on frozen features."""

from typing import Any

import torch
from torch import Tensor

from hubfast.scores.held_out import interleaved, quality
from hubfast.scores.inputs import Task, as_features, as_targets
from hubfast.scores.sample_score import SampleScore, compact, standardised

FOLDS = 5
PENALTIES = torch.logspace(-3, 4, 15, dtype=torch.float64).numpy()  # of ridge, times n below


def linear_probe(features: Any, targets: Any, *, seed: int = 0, task: Task | None = None) -> float:
    """Cross-validated accuracy of logistic regression; R^2 of ridge regression else.

    Standardised features, five folds with classes in proportion, each sample predicted once by a
    head that has not seen it. Accuracy is between 0 and 1, R^2 at most 1; higher is better. It
    misleads where fine-tuning changes the features much; the strength of the penalty is fixed for
    classes (scikit-learn's C = 1). The slowest of the scores for many classes.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes; `(n, C)` 0/1 or floats for R^2.
        seed: Of the folds.
        task: As in `logme`.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return fit_linear_probe(features, targets, seed=seed, task=task).score


def fit_linear_probe(
    features: Any, targets: Any, *, seed: int = 0, task: Task | None = None
) -> SampleScore:
    """The probe with each sample's influence; arguments as in `linear_probe`."""
    x = as_features(features).double().cpu()
    y, task = as_targets(targets, len(x), task)
    y = y.cpu()
    if len(x) < 2:
        raise ValueError("a linear probe needs at least 2 samples, got 1")
    x = compact(standardised(x))
    fold = interleaved(y if task == "classification" else None, len(x), FOLDS, seed)
    predicted = torch.empty_like(y)
    for held in range(min(FOLDS, len(x))):
        test = fold == held
        predicted[test] = _predict(x[~test], y[~test], x[test])
    return quality(predicted, y)


def _predict(x: Tensor, y: Tensor, new: Tensor) -> Tensor:
    from sklearn.linear_model import LogisticRegression, RidgeCV  # slow to import

    if y.ndim == 1:
        if len(y.unique()) < 2:  # nothing to fit
            return y[:1].expand(len(new))
        head = LogisticRegression(max_iter=500, tol=1e-4).fit(x.numpy(), y.numpy())
    else:
        head = RidgeCV(len(x) * PENALTIES, alpha_per_target=True).fit(x.numpy(), y.numpy())
    return torch.from_numpy(head.predict(new.numpy())).reshape(len(new), *y.shape[1:])
