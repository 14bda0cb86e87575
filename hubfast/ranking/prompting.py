"""Ranking by prompts: the names of the classes, and models that are asked by them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from hubfast.data import TargetData
from hubfast.data.class_names import classes_of
from hubfast.data.texts import is_text
from hubfast.hub import Source
from hubfast.hub.prompted import prompted
from hubfast.hub.prompts import TEMPLATES, Prompts
from hubfast.scores.registry import SCORES, Metric, check_metrics


class Naming(NamedTuple):
    """What a user says of the classes; see `hubfast.ranking.rank`."""

    class_names: Sequence[str] | None = None
    templates: Sequence[str] | None = None
    unlabelled: bool = False


def check_unlabelled(metrics: Sequence[Metric]) -> None:
    """Refuses metrics that look at labels, where there are none.

    Raises:
        ValueError: A metric is not known, or looks at labels; the message says which do not.
    """
    check_metrics(metrics, "classification")
    without = [score.name for score in SCORES.values() if not score.labels]
    if needing := [metric for metric in metrics if metric not in without]:
        raise ValueError(
            f"metric {needing[0]!r} needs labels; unlabelled data can be ranked by "
            f"{', '.join(without)}"
        )


def asked_by_prompts(
    sources: Sequence[Source],
    target: TargetData,
    metrics: Sequence[Metric],
    naming: Naming,
) -> tuple[list[Source], TargetData]:
    """Models and data for metrics of prompts; what comes goes where no metric is of prompts.

    The targets are then positions among the names, which are the columns of the prompts' logits.

    Args:
        sources: The models of a hub.
        target: The target data.
        metrics: Names of scores.
        naming: Names of the classes, and templates.

    Raises:
        ValueError: Names or templates are given and no metric is of prompts; another metric needs
            the source classifier; the data gives no images; there are no names, or not as many as
            classes.
    """
    given = {"class_names": naming.class_names, "templates": naming.templates}
    known = [SCORES[metric] for metric in metrics if metric in SCORES]
    asking = [score.name for score in known if score.needs == "prompts"]
    if not asking:
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"{name} is for metric 'zero_shot', got metrics {list(metrics)}")
        return list(sources), target
    if others := [s.name for s in known if s.needs_source and s.needs != "prompts"]:
        raise ValueError(
            f"metric {others[0]!r} is of the source classifier, of which {asking[0]} takes the "
            "place: rank by one of them"
        )
    for name, value in given.items():
        if isinstance(value, str):
            raise TypeError(f"{name} must be a list of texts, got {value!r}")
    _check_images(target)
    target = _named(target, naming)
    prompts = Prompts(tuple(target.class_names or ()), tuple(naming.templates or TEMPLATES))
    return [prompted(source, prompts) for source in sources], target


def _check_images(target: TargetData) -> None:
    if target.samples is None or not len(target):
        raise ValueError(f"zero_shot needs images, the data {target.name!r} gives no samples")
    try:
        first = target[0]
    except (OSError, ValueError):  # unreadable: what can be read will tell
        return
    if is_text(first) or isinstance(first, Tensor):
        kind = "text" if is_text(first) else "float tensors"
        raise ValueError(f"zero_shot needs images, the data {target.name!r} gives {kind}")


def _named(target: TargetData, naming: Naming) -> TargetData:
    """The data with a name for each of its classes, whose targets are positions of names."""
    class_names = naming.class_names
    if naming.unlabelled and class_names is not None:
        return replace(target, class_names=tuple(map(str, class_names)))
    ids, own = classes_of(target)
    if class_names is None:
        if own is None or target.class_names is None:
            raise ValueError(
                f"class_names must be given: the data {target.name!r} does not name its classes"
            )
        return replace(target, class_names=tuple(map(str, target.class_names)))
    names = tuple(map(str, class_names))
    every = len(ids) if target.class_names is None else len(target.class_names)
    if len(names) == every and target.class_names is not None:
        return replace(target, class_names=names)
    if len(names) != len(ids):
        raise ValueError(f"class_names must be {len(ids)}, one for each class, got {len(names)}")
    positions = torch.searchsorted(torch.tensor(ids, device="cpu"), target.targets)
    return replace(target, targets=positions, class_names=names)
