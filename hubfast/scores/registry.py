"""The scores by name: what each needs, and for which tasks it is."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import Tensor

from hubfast.scores.gbc import fit_gbc
from hubfast.scores.inputs import Task
from hubfast.scores.knn import fit_knn
from hubfast.scores.linear_probe import fit_linear_probe
from hubfast.scores.n_leep import fit_n_leep
from hubfast.scores.pactran import fit_pactran
from hubfast.scores.parc import fit_parc
from hubfast.scores.sample_score import SampleScore
from hubfast.scores.sfda import fit_sfda
from hubfast.scores.silence import says_nothing as says_nothing
from hubfast.scores.transrate import fit_transrate

Metric = Literal[
    "logme",
    "h_score",
    "regularized_h_score",
    "leep",
    "nce",
    "n_leep",
    "transrate",
    "gbc",
    "sfda",
    "parc",
    "pactran",
    "knn",
    "linear_probe",
    "parameters",
    "imagenet",
]
ANY_TASK = ("logme", "knn", "linear_probe", "parameters", "imagenet")
NEED_LOGITS = ("leep", "nce")
NEED_STATISTICS = ("logme", "h_score", "regularized_h_score")
NEED_SAMPLES = (
    "n_leep",
    "transrate",
    "gbc",
    "sfda",
    "parc",
    "pactran",
    "knn",
    "linear_probe",
)


def check_metric(metric: str, task: Task) -> None:
    """Refuses an unknown metric, or one that the task has no use for.

    Raises:
        ValueError: So it is.
    """
    if metric not in get_args(Metric):
        raise ValueError(f"metric must be one of {get_args(Metric)}, got {metric!r}")
    if metric not in ANY_TASK and task != "classification":
        raise ValueError(f"metric {metric!r} is for classification, the targets are {task}")


def check_metrics(metrics: Sequence[str], task: Task) -> None:
    """`check_metric` for each of several.

    Raises:
        ValueError: None, or one twice.
    """
    if not metrics or len(set(metrics)) < len(metrics):
        raise ValueError(f"metrics must be at least one, each once, got {list(metrics)}")
    for metric in metrics:
        check_metric(metric, task)


def sample_score(metric: str, features: Tensor, targets: Tensor, task: Task) -> SampleScore:
    """One of NEED_SAMPLES for features `(n, D)` and targets as `as_targets` returns them."""
    task_free: dict[str, Any] = {"knn": fit_knn, "linear_probe": fit_linear_probe}
    if metric in task_free:
        return task_free[metric](features, targets, task=task)
    fit: dict[str, Any] = {
        "n_leep": fit_n_leep,
        "transrate": fit_transrate,
        "gbc": fit_gbc,
        "sfda": fit_sfda,
        "parc": fit_parc,
        "pactran": fit_pactran,
    }
    return fit[metric](features, targets)
