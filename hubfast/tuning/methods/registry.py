"""Every way to tune, by name; a new one is an entry of METHODS and a name in `Method`."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

import torch
from torch import nn

from hubfast.tuning.context import TuningContext
from hubfast.tuning.methods import one_model, together, with_teachers
from hubfast.tuning.methods.lora import build_lora
from hubfast.tuning.methods.method import Options, TuningMethod
from hubfast.utils.extras import require
from hubfast.utils.moved import renamed

Method = Literal[
    "single",
    "bss",
    "l2-sp",
    "delta",
    "co-tuning",
    "stoch-norm",
    "lora",
    "kd",
    "b-tuning",
    "ensemble",
    "distill",
    "knowledge-flow",
    "hub-pathway",
    "zoo",
    "zoo-lite",
]
# Weights are as published, but for two: kd's is divided by the student's width, and B-Tuning's,
# published as 100 for thousands of images, is what did best on held-out parts of the mini-hub's
# targets of a hundred or two.
METHODS = {
    method.name: method
    for method in (
        TuningMethod("single", one_model.build_single, "one", texts=True),
        TuningMethod("bss", one_model.build_bss, "one", weight=1e-3, texts=True),
        TuningMethod(
            "l2-sp", one_model.build_l2_sp, "one", weight=0.01, weight_decay=False, texts=True
        ),
        TuningMethod(
            "delta",
            one_model.build_delta,
            "one",
            weight=0.01,
            weight_decay=False,
            named_stages=True,
        ),
        TuningMethod(
            "co-tuning",
            one_model.build_co_tuning,
            "one",
            weight=2.3,
            classes_only=True,
            source_classifier=True,
        ),
        TuningMethod("stoch-norm", one_model.build_stoch_norm, "one"),
        TuningMethod("lora", build_lora, "one", texts=True, lr=5e-4, package=("peft", "lora")),
        TuningMethod("kd", with_teachers.build_kd, "several", weight=1.0, texts=True),
        TuningMethod("b-tuning", with_teachers.build_b_tuning, "several", weight=1.0, texts=True),
        TuningMethod(
            "ensemble", together.build_ensemble, "several", shared_images=True, texts=True
        ),
        TuningMethod("distill", with_teachers.build_distill, "several", weight=1.0, texts=True),
        TuningMethod("knowledge-flow", together.build_knowledge_flow, "several", named_stages=True),
        TuningMethod(
            "hub-pathway",
            together.build_hub_pathway,
            "several",
            classes_only=True,
            shared_images=True,
        ),
        TuningMethod(
            "zoo", together.build_zoo, "several", classes_only=True, same_architecture=True
        ),
        TuningMethod(
            "zoo-lite",
            together.build_zoo_lite,
            "several",
            classes_only=True,
            same_architecture=True,
        ),
    )
}


def installed_methods() -> tuple[str, ...]:
    """Names of the methods for which everything is installed that they need."""
    needed = {name: method.package for name, method in METHODS.items()}
    return tuple(
        name for name, package in needed.items() if package is None or find_spec(package[0])
    )


def find_method(name: str, top: int, weight: float | None = None) -> TuningMethod:
    """The method of this name, once it is sure that it can use `top` models and the weight.

    Raises:
        ValueError: An unknown method, a number of models that it has no use for, a weight for a
            method without a term of its own, or one that is negative or not finite.
        ModuleNotFoundError: The method needs a package that is not installed.
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {tuple(METHODS)}, got {name!r}")
    method = METHODS[name]
    least = 2 if method.same_architecture else 1
    if top < least:
        raise ValueError(f"top must be at least {least} for method {name!r}, got {top}")
    if weight is not None and method.weight is None:
        weighted = tuple(each.name for each in METHODS.values() if each.weight is not None)
        raise ValueError(f"weight is for one of {weighted}, not for {name!r}")
    if weight is not None and not 0 <= weight < math.inf:
        raise ValueError(f"weight must be finite and not negative, got {weight}")
    if method.package is not None:
        require(*method.package, f"method {name!r}")
    return method


@renamed(setting="context")
def build(
    name: Method,
    context: TuningContext,
    fit: Callable[[nn.Module], object],
    *,
    weight: float | None = None,
    seed: int = 0,
    lora_rank: int = 8,
) -> nn.Module:
    """The module that a method trains; the student is the context's first model.

    Args:
        name: Name of the method.
        context: Models and data.
        fit: Trains a module in place: for methods that need another one tuned before.
        weight: Weight of the method's own term; None for its default.
        seed: Seed of new layers.
        lora_rank: Rank of LoRA's updates.

    Raises:
        ValueError: The method cannot be had for these models or this task.
    """
    method, task = METHODS[name], context.labels.task
    if method.classes_only and task != "classification":
        raise ValueError(f"{name} is for classification, the targets are {task}")
    options = Options((method.weight or 0.0) if weight is None else weight, fit, lora_rank)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return method.build(context, options)
