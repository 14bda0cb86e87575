"""Methods that tune the best-ranked model alone, most of them with a term added to its loss."""

import torch
from torch import Tensor

from hubfast.tuning.methods.knowledge_flow import stage_names
from hubfast.tuning.methods.method import Options
from hubfast.tuning.methods.stoch_norm import stoch_norm
from hubfast.tuning.objective import Regularised
from hubfast.tuning.setting import Setting
from hubfast.tuning.terms.bss import BSS
from hubfast.tuning.terms.co_tuning import CoTuning, category_relationship, source_probabilities
from hubfast.tuning.terms.delta import DELTA, channel_attention
from hubfast.tuning.terms.l2_sp import L2SP

ATTENTION_SAMPLES = 32  # that DELTA's attention is computed on


def build_single(setting: Setting, options: Options) -> Regularised:
    """The model with its task loss alone."""
    return Regularised(setting.load(), setting.task, {})


def build_bss(setting: Setting, options: Options) -> Regularised:
    """The model with batch spectral shrinkage."""
    return Regularised(setting.load(), setting.task, {"bss": BSS(options.weight)})


def build_l2_sp(setting: Setting, options: Options) -> Regularised:
    """The model, whose weights stay near where they started."""
    model = setting.load()
    return Regularised(model, setting.task, {"l2_sp": L2SP(model, options.weight)})


def build_delta(setting: Setting, options: Options) -> Regularised:
    """The model, whose feature maps stay near those of the pre-trained one."""
    model = setting.load()
    term = DELTA(model, _attention(setting), options.weight)
    return Regularised(model, setting.task, {"delta": term})


def build_co_tuning(setting: Setting, options: Options) -> Regularised:
    """The model with its source classifier, tuned along.

    Raises:
        ValueError: The model has no source classifier.
    """
    model = setting.load()
    (source_head,) = model.source_head
    if source_head is None:
        raise ValueError("co-tuning needs a model with its source classifier, and classes to tune")
    probabilities = source_probabilities(source_head, setting.posterior(0)[0])
    targets = setting.images.targets
    relationship = category_relationship(probabilities, targets, setting.labels.outputs)
    term = CoTuning(source_head, relationship, options.weight)
    return Regularised(model, setting.task, {"co_tuning": term})


def build_stoch_norm(setting: Setting, options: Options) -> Regularised:
    """The model with StochNorm for its BatchNorm layers."""
    model = setting.load()
    model.model = stoch_norm(model.model)
    return Regularised(model, setting.task, {})


def _attention(setting: Setting) -> dict[str, Tensor | None]:
    """DELTA's attention for each stage, with a head fitted on the features as they came."""
    if setting.labels.task != "classification":
        return dict.fromkeys(stage_names(setting.load().model))
    from sklearn.linear_model import LogisticRegression  # slow to import

    model = setting.load()
    features, targets = setting.posterior(0)[0].numpy(), setting.images.targets
    fitted = LogisticRegression(max_iter=1000).fit(features, targets.numpy())
    weight, bias = (torch.from_numpy(x).float() for x in (fitted.coef_, fitted.intercept_))
    with torch.no_grad():
        if setting.labels.outputs == 2:  # scikit-learn gives one row for two classes
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        model.head.weight.copy_(weight)
        model.head.bias.copy_(bias)
    some = torch.randperm(len(targets), device="cpu")[:ATTENTION_SAMPLES]
    images = setting.images.batch(some.tolist())
    return {
        name: channel_attention(model, name, images, targets[some])
        for name in stage_names(model.model)
    }
