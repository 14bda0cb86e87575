"""Every way to tune, by name: from a setting to the module that is trained."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hubfast.tuning.b_tuning import BTuning
from hubfast.tuning.bss import BSS
from hubfast.tuning.co_tuning import CoTuning, category_relationship, source_probabilities
from hubfast.tuning.delta import Delta, channel_attention
from hubfast.tuning.ensemble import Ensemble
from hubfast.tuning.kd import KD, SoftTargets
from hubfast.tuning.knowledge_flow import KnowledgeFlow, stage_names
from hubfast.tuning.l2_sp import L2SP
from hubfast.tuning.objective import Regularised
from hubfast.tuning.pretrained import Pretrained
from hubfast.tuning.setting import Setting
from hubfast.tuning.stoch_norm import stoch_norm
from hubfast.tuning.teachers import Teachers, cache

OneModel = Literal["single", "bss", "l2-sp", "delta", "co-tuning", "stoch-norm"]
Method = Literal[
    "single",
    "bss",
    "l2-sp",
    "delta",
    "co-tuning",
    "stoch-norm",
    "kd",
    "b-tuning",
    "ensemble",
    "distill",
    "knowledge-flow",
]
ATTENTION_SAMPLES = 32  # that DELTA's attention is computed on
NO_DECAY = ("l2-sp", "delta")  # whose terms take the place of weight decay


def check_method(name: str, count: int) -> None:
    """Refuses an unknown method, or a number of models that it has no use for.

    Raises:
        ValueError: So it is.
    """
    if name not in get_args(Method):
        raise ValueError(f"method must be one of {get_args(Method)}, got {name!r}")
    if count < 1:
        raise ValueError(f"top must be at least 1, got {count}")


def models_used(name: str, top: int) -> int:
    """How many of the `top` models a method takes: one that tunes a single model takes one."""
    return 1 if name in get_args(OneModel) else top


def build(
    name: Method, setting: Setting, fit: Callable[[nn.Module], object], seed: int = 0
) -> nn.Module:
    """The module that a method trains; the student is the setting's first model.

    Args:
        name: Of the method.
        setting: Models and data.
        fit: Trains a module in place: for methods that need another one tuned before.
        seed: Of new layers.

    Raises:
        ValueError: The method cannot be had for these models or this task.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        match name:
            case "single" | "bss" | "l2-sp" | "delta" | "co-tuning" | "stoch-norm":
                return _one_model(name, setting)
            case "kd" | "b-tuning":
                return _with_teachers(name, setting)
            case "ensemble":
                return Ensemble(setting.all(), setting.task)
            case "distill":
                return _distill(setting, fit)
            case "knowledge-flow":
                student, teachers = setting.load(), setting.all()
                return KnowledgeFlow(
                    student, teachers, setting.task, setting.example, setting.steps
                )


def _one_model(name: OneModel, setting: Setting) -> Regularised:
    model = setting.load()
    terms: Mapping[str, nn.Module] = {}
    match name:
        case "bss":
            terms = {"bss": BSS()}
        case "l2-sp":
            terms = {"l2_sp": L2SP(model)}
        case "delta":
            terms = {"delta": Delta(model, _attention(setting))}
        case "co-tuning":
            terms = {"co_tuning": _co_tuning(model, setting)}
        case "stoch-norm":
            model.model = stoch_norm(model.model)
    return Regularised(model, setting.task, terms)


def _with_teachers(name: Literal["kd", "b-tuning"], setting: Setting) -> Regularised:
    model, teachers = setting.load(), setting.teachers()
    fits = [setting.posterior(k)[1] for k in range(len(setting.sources))]
    if name == "kd":
        widths = [fit.means.shape[1] for fit in fits]
        return Regularised(
            model, setting.task, {"kd": KD(model.width, widths, teachers, 1 / model.width)}
        )
    term = BTuning(
        fits[0].means,
        teachers,
        [fit.means for fit in fits],
        [fit.score for fit in fits],
        deviation=setting.labels.deviation,
    )
    return Regularised(model, setting.task, {"b_tuning": term})


def _distill(setting: Setting, fit: Callable[[nn.Module], object]) -> Regularised:
    ensemble = Ensemble(setting.all(), setting.task)
    fit(ensemble)
    teachers: nn.Module = Teachers([ensemble], "logits")
    if setting.pictures.augment is None:
        teachers = cache(Teachers([ensemble], "logits"), setting.pictures, device=setting.device)
    term = SoftTargets(teachers, deviation=setting.labels.deviation)
    return Regularised(setting.load(), setting.task, {"distill": term})


def _co_tuning(model: Pretrained, setting: Setting) -> CoTuning:
    (source_head,) = model.source_head
    if source_head is None or setting.labels.task != "classification":
        raise ValueError("co-tuning needs a model with its source classifier, and classes to tune")
    probabilities = source_probabilities(source_head, setting.posterior(0)[0])
    targets = setting.pictures.targets
    return CoTuning(
        source_head, category_relationship(probabilities, targets, setting.labels.outputs)
    )


def _attention(setting: Setting) -> dict[str, Tensor | None]:
    """Of every stage of the first model, with a head fitted on its features as they came."""
    if setting.labels.task != "classification":
        return dict.fromkeys(stage_names(setting.load().model))
    from sklearn.linear_model import LogisticRegression  # slow to import

    model = setting.load()
    features, targets = setting.posterior(0)[0].numpy(), setting.pictures.targets
    fitted = LogisticRegression(max_iter=1000).fit(features, targets.numpy())
    weight, bias = (torch.as_tensor(x).float() for x in (fitted.coef_, fitted.intercept_))
    with torch.no_grad():
        if setting.labels.outputs == 2:  # scikit-learn gives one row for two classes
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        model.head.weight.copy_(weight)
        model.head.bias.copy_(bias)
    some = torch.randperm(len(targets))[:ATTENTION_SAMPLES]
    images = setting.pictures.batch(some.tolist())
    return {
        name: channel_attention(model, name, images, targets[some])
        for name in stage_names(model.model)
    }
