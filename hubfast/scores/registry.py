"""The scores by name. A new one adds its line here; all else reads it."""

from collections.abc import Sequence
from importlib import import_module

from hubfast.scores.inputs import Task
from hubfast.scores.score import Needs, Score

Metric = str  # a key of SCORES, which `check_metric` makes sure of

# Where each score's record is. The command line reads the names from this text, as it must not
# import torch: they stay literals.
HOMES = {
    "logme": "hubfast.scores.logme.logme.SCORE",
    "h_score": "hubfast.scores.hscore.SCORE",
    "regularized_h_score": "hubfast.scores.hscore.REGULARIZED_SCORE",
    "leep": "hubfast.scores.leep.SCORE",
    "nce": "hubfast.scores.nce.SCORE",
    "n_leep": "hubfast.scores.n_leep.SCORE",
    "transrate": "hubfast.scores.transrate.SCORE",
    "gbc": "hubfast.scores.gbc.SCORE",
    "sfda": "hubfast.scores.sfda.SCORE",
    "parc": "hubfast.scores.parc.SCORE",
    "pactran": "hubfast.scores.pactran.SCORE",
    "knn": "hubfast.scores.knn.SCORE",
    "linear_probe": "hubfast.scores.linear_probe.SCORE",
    "zero_shot": "hubfast.scores.zero_shot.SCORE",
    "zero_shot_confidence": "hubfast.scores.zero_shot.CONFIDENCE",
    "cka": "hubfast.scores.cka.SCORE",
    "parameters": "hubfast.scores.static.PARAMETERS",
    "imagenet": "hubfast.scores.static.IMAGENET",
}


def _record(home: str) -> Score:
    module, _, attribute = home.rpartition(".")
    record: Score = getattr(import_module(module), attribute)
    return record


SCORES: dict[str, Score] = {name: _record(home) for name, home in HOMES.items()}


def names_of(
    *, task: Task | None = None, needs: Sequence[Needs] | None = None, prompts: bool = True
) -> tuple[str, ...]:
    """Names of the scores that are for this task and need one of these; by default of all.

    Args:
        task: A task, or None for any.
        needs: What the scores may need, or None for anything.
        prompts: Whether scores of prompts are among them, which few models have.
    """
    return tuple(
        name
        for name, score in SCORES.items()
        if (task is None or task in score.tasks)
        and (needs is None or score.needs in needs)
        and (prompts or score.needs != "prompts")
    )


def check_metric(metric: str, task: Task) -> None:
    """Refuses an unknown metric, or one that the task has no use for.

    Raises:
        ValueError: Unknown metric, or one that does not fit the task.
    """
    if metric not in SCORES:
        raise ValueError(f"metric must be one of {tuple(SCORES)}, got {metric!r}")
    if task not in SCORES[metric].tasks:
        raise ValueError(f"metric {metric!r} is for classification, the targets are {task}")


def check_metrics(metrics: Sequence[str], task: Task) -> None:
    """Calls `check_metric` for each of several.

    Raises:
        ValueError: No metric, one twice, an unknown one, or one that does not fit the task.
    """
    if not metrics or len(set(metrics)) < len(metrics):
        raise ValueError(f"metrics must be at least one, each once, got {list(metrics)}")
    for metric in metrics:
        check_metric(metric, task)
