"""Hubs as queries: `timm:resnet*?params<30M`, `onnx:models/*.onnx`."""

import glob
import operator
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from hubfast.utils.extras import slow_import
from hubfast.utils.progress import progress_bar

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
CONDITION = re.compile(r"\s*([a-z_]+)\s*(<=|>=|<|>|=)\s*(\S+?)\s*")
FIELDS = {"params": "params", "parameters": "params", "input_size": "input_size"}
LICENCE = ("licence", "license")
TRAINED = re.compile(r"[?&,]\s*pretrained\s*=\s*(true|false)\s*(?=[&,]|$)", re.IGNORECASE)
UNTRAINED = "?pretrained=false"


def is_query(name: str) -> bool:
    """Whether a name stands for several models, or for those that meet conditions."""
    return any(mark in name for mark in "*?[")


def wants_training(name: str) -> tuple[str, bool]:
    """`name` without its condition on `pretrained`, and whether it asks for trained weights."""
    match = TRAINED.search(name)
    if match is None:
        return name, True
    rest = name[: match.start()] + name[match.end() :]
    if "?" not in rest and (mark := re.search("[&,]", rest)):
        rest = f"{rest[: mark.start()]}?{rest[mark.end() :]}"
    return rest, match[1].lower() == "true"


def matching_timm(query: str, *, progress: bool = False) -> list[tuple[str, str]]:
    """Names and licences of timm's pretrained models that `query` asks for, in its order.

    Args:
        query: A name with `*`, and after a `?` conditions joined by `&`, all to be met:
            `params<30M` (K, M, G), `input_size<=224`, `licence=apache-2.0`. With
            `pretrained=false` they are all architectures, each with random weights.
        progress: Show a bar: parameters are counted by building models without values.

    Raises:
        ValueError: A condition has another form, or nothing matches.
    """
    timm = slow_import("timm")

    query, trained = wants_training(query)
    pattern, _, conditions = query.partition("?")
    tests = [_test(condition) for condition in re.split("[&,]", conditions) if condition.strip()]
    names, found = timm.list_models(pattern or "*", pretrained=trained), []
    with progress_bar(progress and bool(tests)) as bars:
        for name in bars.track(names, description=query):
            config: Any = timm.models.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
            if all(test(name, config) for test in tests):
                licence = str(config.license or "") if trained else ""
                found.append((name if trained else f"{name}{UNTRAINED}", licence))
    if not found:
        kind = "pretrained timm model" if trained else "timm model"
        raise ValueError(f"no {kind} matches {query!r}")
    return found


def matching_files(pattern: str) -> list[str]:
    """The files and folders that `pattern` matches, sorted.

    Raises:
        ValueError: No file matches.
    """
    paths = sorted(glob.glob(pattern))
    if not paths:
        raise ValueError(f"no file matches {pattern!r}")
    return paths


def _test(condition: str) -> Callable[[str, Any], bool]:
    match = CONDITION.fullmatch(condition)
    if match is not None:
        field, sign, value = match.groups()
        if field in LICENCE and sign == "=":
            return lambda name, config: str(config.license or "").lower() == value.lower()
        number = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?)([KMGB]?)", value, re.IGNORECASE)
        if field in FIELDS and number is not None:
            bound = float(number[1]) * UNITS[number[2].upper()]
            size = _parameters if FIELDS[field] == "params" else _input_size
            return lambda name, config: COMPARE[sign](size(name, config), bound)
    raise ValueError(
        "conditions must be like params<30M, input_size<=224, licence=apache-2.0 or "
        "pretrained=false, "
        f"got {condition!r}"
    )


def _input_size(name: str, config: Any) -> int:
    return int(config.input_size[-1])


def _parameters(name: str, config: Any) -> int:
    return _count(name.partition(".")[0], int(config.num_classes))


@cache
def _count(architecture: str, classes: int) -> int:
    """Parameters of an architecture, from shapes alone where it can be built so."""
    timm = slow_import("timm")

    try:
        with torch.device("meta"):
            module = timm.create_model(architecture, pretrained=False, num_classes=classes)
    except (RuntimeError, NotImplementedError):  # the model computes with values while it is built
        module = timm.create_model(architecture, pretrained=False, num_classes=classes)
    return sum(p.numel() for p in module.parameters())
