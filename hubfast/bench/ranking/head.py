"""What a linear head on a model's features gives: the cheaper of the two truths about a model."""

import warnings
from typing import Any

import numpy as np
from torch import Tensor

from hubfast.scores.inputs import Task

FOLDS = 3  # of the training samples, to choose the penalty on
PENALTIES = tuple(10.0**power for power in range(-4, 5, 2))


def head_quality(
    features: Tensor, targets: Tensor, new: Tensor, truth: Tensor, task: Task, seed: int = 0
) -> float:
    """Accuracy, or R2 for regression, of a linear head on samples that it was not fitted on.

    Features are standardised. The head is a logistic regression by scikit-learn, or a ridge
    regression, whose penalty is that of PENALTIES which does best in a cross-validation of the
    training samples. No score of hubfast is asked.

    Args:
        features: `(n, D)` of the training samples.
        targets: `(n,)` classes, or `(n, C)` values of the training samples.
        new: `(r, D)` of the samples to test on.
        truth: Targets of the samples to test on.
        task: `"classification"` or `"regression"`.
        seed: Seed of the folds.

    Raises:
        ValueError: Another task, or a class of a single training sample.
    """
    if task == "multilabel":
        raise ValueError("data must have classes or values for a linear head, got several labels")
    from sklearn.model_selection import KFold, StratifiedKFold

    x, z = _standardised(features.double().cpu().numpy(), new.double().cpu().numpy())
    y, wanted = targets.cpu().numpy(), truth.cpu().numpy()
    folds, kind = FOLDS, KFold
    if task == "classification":
        folds, kind = min(FOLDS, int(np.unique(y, return_counts=True)[1].min())), StratifiedKFold
        if folds < 2:
            raise ValueError("data must have two training samples of each class, got one of some")
    split = kind(folds, shuffle=True, random_state=seed)
    head = _logistic(split) if task == "classification" else _ridge(split)
    with warnings.catch_warnings():
        # Weak penalties may take more steps than are worth it, and newer versions rename options.
        warnings.simplefilter("ignore")
        return float(head.fit(x, y).score(z, wanted))


def _logistic(split: Any) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    return GridSearchCV(LogisticRegression(max_iter=300), {"C": PENALTIES}, cv=split)


def _ridge(split: Any) -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV

    return GridSearchCV(Ridge(), {"alpha": [1 / c for c in PENALTIES]}, cv=split)


def _standardised(x: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both by the first's mean and std, in a basis of the first's rows, where the head lies."""
    mean, std = x.mean(0), x.std(0)
    scale = np.where(std > 1e-6 * max(float(std.max()), 1e-30), 1 / np.maximum(std, 1e-30), 0.0)
    x, new = (x - mean) * scale, (new - mean) * scale
    if x.shape[1] <= x.shape[0]:
        return x, new
    basis = np.linalg.svd(x, full_matrices=False)[2].T  # a penalised head has no part outside
    return x @ basis, new @ basis
