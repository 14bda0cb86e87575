"""Every way to tune, by name: from a setting to the module that is trained."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hubfast.pathway import HubModel, HubPathway, pathway_generator
from hubfast.tuning.methods.ensemble import Ensemble
from hubfast.tuning.methods.knowledge_flow import KnowledgeFlow, stage_names
from hubfast.tuning.methods.stoch_norm import stoch_norm
from hubfast.tuning.methods.zoo import Zoo
from hubfast.tuning.objective import Regularised
from hubfast.tuning.pretrained import Pretrained
from hubfast.tuning.setting import Setting
from hubfast.tuning.teachers import Teachers
from hubfast.tuning.terms.b_tuning import BTuning, teacher_weights
from hubfast.tuning.terms.bss import BSS
from hubfast.tuning.terms.co_tuning import CoTuning, category_relationship, source_probabilities
from hubfast.tuning.terms.delta import Delta, channel_attention
from hubfast.tuning.terms.kd import KD, SoftTargets
from hubfast.tuning.terms.l2_sp import L2SP

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
    "hub-pathway",
    "zoo",
    "zoo-lite",
]
# Of each method's term, as published, but for two: kd's is divided by the student's width, and
# B-Tuning's, published as 100 for thousands of pictures, is what did best on held-out parts of
# the mini-hub's targets of a hundred or two.
WEIGHTS = {
    "bss": 1e-3,
    "l2-sp": 0.01,
    "delta": 0.01,
    "co-tuning": 2.3,
    "kd": 1.0,
    "b-tuning": 1.0,
    "distill": 1.0,
}
PATHWAYS = 2  # models that a sample goes through, of Hub-Pathway
SMALL_PICTURES = 64  # pixels: below, Hub-Pathway's generator is timm's smallest network
ATTENTION_SAMPLES = 32  # that DELTA's attention is computed on
SHARED_IMAGES = ("ensemble", "hub-pathway")  # methods that use several models in the end
ONE_ARCHITECTURE = ("zoo", "zoo-lite")  # methods whose models must be alike
CLASSES_ONLY = ("co-tuning", "hub-pathway", "zoo", "zoo-lite")  # methods for classification
STAGES = ("delta", "knowledge-flow")  # methods whose models must name their stages
NO_DECAY = ("l2-sp", "delta")  # whose terms take the place of weight decay


def check_method(name: str, count: int) -> None:
    """Refuses an unknown method, or a number of models that it has no use for.

    Raises:
        ValueError: So it is.
    """
    if name not in get_args(Method):
        raise ValueError(f"method must be one of {get_args(Method)}, got {name!r}")
    least = 2 if name in ONE_ARCHITECTURE else 1
    if count < least:
        raise ValueError(f"top must be at least {least} for method {name!r}, got {count}")


def check_weight(name: str, weight: float | None) -> None:
    """Refuses a weight for a method without such a term, or a negative one.

    Raises:
        ValueError: So it is.
    """
    if weight is None:
        return
    if name not in WEIGHTS:
        raise ValueError(f"weight is for one of {tuple(WEIGHTS)}, not for {name!r}")
    if weight < 0:
        raise ValueError(f"weight must not be negative, got {weight}")


def models_used(name: str, top: int) -> int:
    """How many of the `top` models a method takes: one that tunes a single model takes one."""
    return 1 if name in get_args(OneModel) else top


def build(
    name: Method,
    setting: Setting,
    fit: Callable[[nn.Module], object],
    *,
    weight: float | None = None,
    seed: int = 0,
) -> nn.Module:
    """The module that a method trains; the student is the setting's first model.

    Args:
        name: Of the method.
        setting: Models and data.
        fit: Trains a module in place: for methods that need another one tuned before.
        weight: Of the method's term; None for that of WEIGHTS.
        seed: Of new layers.

    Raises:
        ValueError: The method cannot be had for these models or this task.
    """
    weight = WEIGHTS.get(name, 0.0) if weight is None else weight
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        match name:
            case "single" | "bss" | "l2-sp" | "delta" | "co-tuning" | "stoch-norm":
                return _one_model(name, setting, weight)
            case "kd" | "b-tuning":
                return _with_teachers(name, setting, weight)
            case "ensemble":
                return Ensemble(setting.all(), setting.task)
            case "distill":
                return _distill(setting, fit, weight)
            case "knowledge-flow":
                student, teachers = setting.load(), setting.all()
                return KnowledgeFlow(
                    student, teachers, setting.task, setting.example, setting.steps
                )
            case "hub-pathway":
                return _hub_pathway(setting)
            case "zoo" | "zoo-lite":
                _check_classes(name, setting)
                models, prior = setting.all(), _posterior(setting)
                return Zoo(models, setting.labels.outputs, prior, lite=name == "zoo-lite")


def _one_model(name: OneModel, setting: Setting, weight: float) -> Regularised:
    model = setting.load()
    terms: Mapping[str, nn.Module] = {}
    match name:
        case "bss":
            terms = {"bss": BSS(weight)}
        case "l2-sp":
            terms = {"l2_sp": L2SP(model, weight)}
        case "delta":
            terms = {"delta": Delta(model, _attention(setting), weight)}
        case "co-tuning":
            terms = {"co_tuning": _co_tuning(model, setting, weight)}
        case "stoch-norm":
            model.model = stoch_norm(model.model)
    return Regularised(model, setting.task, terms)


def _with_teachers(name: Literal["kd", "b-tuning"], setting: Setting, weight: float) -> Regularised:
    model, teachers = setting.load(), setting.teachers()
    fits = [setting.posterior(k)[1] for k in range(len(setting.sources))]
    if name == "kd":
        widths = [fit.means.shape[1] for fit in fits]
        kd = KD(model.width, widths, teachers, weight / model.width)
        return Regularised(model, setting.task, {"kd": kd})
    term = BTuning(
        fits[0].means,
        teachers,
        [fit.means for fit in fits],
        [fit.score for fit in fits],
        weight=weight,
        deviation=setting.labels.deviation,
    )
    return Regularised(model, setting.task, {"b_tuning": term})


def _distill(setting: Setting, fit: Callable[[nn.Module], object], weight: float) -> Regularised:
    ensemble = Ensemble(setting.all(), setting.task)
    fit(ensemble)
    teachers: nn.Module = Teachers([ensemble], "logits")
    if setting.pictures.augment is None:
        teachers = setting.cached(Teachers([ensemble], "logits"), setting.pictures)
    term = SoftTargets(teachers, weight, deviation=setting.labels.deviation)
    return Regularised(setting.load(), setting.task, {"distill": term})


def _hub_pathway(setting: Setting) -> HubPathway:
    _check_classes("hub-pathway", setting)
    models = {
        source.name: HubModel(model)
        for source, model in zip(setting.sources, setting.all(), strict=True)
    }
    small = max(setting.pictures.size) <= SMALL_PICTURES
    generator = pathway_generator("test_resnet" if small else "resnet10", len(models))
    # Pretrained resizes and normalises by itself, so the generator is all that sees raw pictures.
    return HubPathway(
        models,
        min(PATHWAYS, len(models)),
        classes=setting.labels.outputs,
        generator=generator,
        prior=_posterior(setting),
    )


def _posterior(setting: Setting) -> list[float]:
    """Probability of each model: n times LogME is a log evidence."""
    scores = [setting.posterior(k)[1].score for k in range(len(setting.sources))]
    return teacher_weights(scores, 1 / len(setting.pictures)).tolist()


def _check_classes(name: str, setting: Setting) -> None:
    if setting.labels.task != "classification":
        raise ValueError(f"{name} is for classification, the targets are {setting.labels.task}")


def _co_tuning(model: Pretrained, setting: Setting, weight: float) -> CoTuning:
    (source_head,) = model.source_head
    if source_head is None or setting.labels.task != "classification":
        raise ValueError("co-tuning needs a model with its source classifier, and classes to tune")
    probabilities = source_probabilities(source_head, setting.posterior(0)[0])
    targets = setting.pictures.targets
    relationship = category_relationship(probabilities, targets, setting.labels.outputs)
    return CoTuning(source_head, relationship, weight)


def _attention(setting: Setting) -> dict[str, Tensor | None]:
    """Of every stage of the first model, with a head fitted on its features as they came."""
    if setting.labels.task != "classification":
        return dict.fromkeys(stage_names(setting.load().model))
    from sklearn.linear_model import LogisticRegression  # slow to import

    model = setting.load()
    features, targets = setting.posterior(0)[0].numpy(), setting.pictures.targets
    fitted = LogisticRegression(max_iter=1000).fit(features, targets.numpy())
    weight, bias = (torch.from_numpy(x).float() for x in (fitted.coef_, fitted.intercept_))
    with torch.no_grad():
        if setting.labels.outputs == 2:  # scikit-learn gives one row for two classes
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        model.head.weight.copy_(weight)
        model.head.bias.copy_(bias)
    some = torch.randperm(len(targets), device="cpu")[:ATTENTION_SAMPLES]
    images = setting.pictures.batch(some.tolist())
    return {
        name: channel_attention(model, name, images, targets[some])
        for name in stage_names(model.model)
    }
