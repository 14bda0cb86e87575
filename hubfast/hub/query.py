"""Hubs as queries: `timm:resnet*?params<30M`, `onnx:models/*.onnx`."""

import glob
import re
from typing import Any

from hubfast.hub.conditions import read_conditions
from hubfast.utils.extras import slow_import
from hubfast.utils.progress import progress_bar

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
        ValueError: Conditions are not what `read_conditions` takes, or nothing matches.
    """
    timm = slow_import("timm")

    query, trained = wants_training(query)
    pattern, _, conditions = query.partition("?")
    tests = read_conditions([part for part in re.split("[&,]", conditions) if part.strip()])
    names, found = timm.list_models(pattern or "*", pretrained=trained), []
    with progress_bar(progress and bool(tests)) as bars:
        for name in bars.track(names, description=query):
            config: Any = timm.models.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
            if all(test.met(name, config) for test in tests):
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
        raise ValueError(f"no file matches {pattern!r}, which the hub names")
    return paths
