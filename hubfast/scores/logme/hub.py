"""Fits LogME to many models for the same targets."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np

from hubfast.scores.inputs import Task
from hubfast.scores.logme.logme import LogME
from hubfast.scores.logme.solve import columns_of, solve_together
from hubfast.scores.statistics import FeatureStatistics
from hubfast.utils.threads import parallel_map

Item = TypeVar("Item")
Result = TypeVar("Result")


def fit_hub(
    features: Sequence[Any] | Mapping[str, Any],
    targets: Any,
    *,
    task: Task | None = None,
    backend: Literal["cuda"] | None = None,
) -> list[LogME]:
    """`LogME.fit` of the features of many models: in parallel on the CPU, one core per model.

    Args:
        features: One array `(n, D)` per model, each with its own D; a mapping names the models.
        targets: What `logme` takes; the models share them.
        task: What the targets are; None to tell from their dtype and shape.
        backend: What solves for the evidences, as in `fit_hub_statistics`.

    Returns:
        One fit per model, in the order of `features`.

    Raises:
        TypeError, ValueError: Features or targets are of the wrong type, shape or content; the
            message names the model.
        RuntimeError: A solver failed on the GPU; the message names the models.
    """
    named = _named(features)
    if backend is not None:
        return fit_hub_statistics(
            {name: _of_model(name, _summed, x, targets, task) for name, x in named.items()},
            backend=backend,
        )

    def fit(name: str) -> LogME:
        return _of_model(name, LogME.fit, named[name], targets, task=task)

    return parallel_map(fit, list(named), cost=lambda name: math.prod(np.shape(named[name])))


def fit_hub_statistics(
    stats: Sequence[FeatureStatistics] | Mapping[str, FeatureStatistics],
    *,
    backend: Literal["cuda"] | None = None,
) -> list[LogME]:
    """`LogME.from_statistics` of many models: in parallel on the CPU, one core per model.

    Args:
        stats: The sums of each model; a mapping names the models.
        backend: `"cuda"` takes sums on a GPU, decomposes them side by side by cuSOLVER and searches
            the maxima of all models and classes at once. It runs on request only, as long as it
            has not been measured.

    Returns:
        One fit per model, in the order of `stats`.

    Raises:
        ValueError: Sums that `from_statistics` refuses; the message names the model.
        RuntimeError: A solver failed on the GPU; the message names the models.
    """
    named = _named(stats)
    if backend is not None:
        columns = [_of_model(name, columns_of, each) for name, each in named.items()]
        solved = solve_together(list(named.values()), columns, list(named))
        every = zip(named.values(), columns, solved, strict=True)
        return [LogME.of_solution(each, chosen, *pair) for each, chosen, pair in every]

    def fit(name: str) -> LogME:
        return _of_model(name, LogME.from_statistics, named[name])

    return parallel_map(fit, list(named), cost=lambda name: (named[name].width or 0) ** 3)


def _named(models: Sequence[Item] | Mapping[str, Item]) -> dict[str, Item]:
    if isinstance(models, Mapping):
        return dict(models)
    return {f"model {index}": model for index, model in enumerate(models)}


def _of_model(name: str, call: Callable[..., Result], *args: Any, **options: Any) -> Result:
    try:
        return call(*args, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def _summed(features: Any, targets: Any, task: Task | None) -> FeatureStatistics:
    return FeatureStatistics(task).update(features, targets)
