"""Methods that tune the best-ranked model alone, most of them with a term added to its loss."""

import torch
from torch import Tensor

from hubfast.tuning.context import TuningContext
from hubfast.tuning.methods.knowledge_flow import stage_names
from hubfast.tuning.methods.method import Options
from hubfast.tuning.methods.stoch_norm import stoch_norm
from hubfast.tuning.objective import Regularised
from hubfast.tuning.terms.bss import BSS
from hubfast.tuning.terms.co_tuning import CoTuning, category_relationship, source_probabilities
from hubfast.tuning.terms.delta import DELTA, channel_attention
from hubfast.tuning.terms.l2_sp import L2SP

ATTENTION_SAMPLES = 32  # images that DELTA's attention is computed on


def build_single(context: TuningContext, options: Options) -> Regularised:
    """The model with its task loss alone."""
    return Regularised(context.load(), context.task, {})


def build_bss(context: TuningContext, options: Options) -> Regularised:
    """The model with batch spectral shrinkage."""
    return Regularised(context.load(), context.task, {"bss": BSS(options.weight)})


def build_l2_sp(context: TuningContext, options: Options) -> Regularised:
    """The model, whose weights stay near where they started."""
    model = context.load()
    return Regularised(model, context.task, {"l2_sp": L2SP(model, options.weight)})


def build_delta(context: TuningContext, options: Options) -> Regularised:
    """The model, whose feature maps stay near those of the pre-trained one."""
    model = context.load_image_model()
    term = DELTA(model, _attention(context), options.weight)
    return Regularised(model, context.task, {"delta": term})


def build_co_tuning(context: TuningContext, options: Options) -> Regularised:
    """The model with its source classifier, tuned along.

    Raises:
        ValueError: The model has no source classifier.
    """
    model = context.load()
    (source_head,) = model.source_head
    if source_head is None:
        raise ValueError("co-tuning needs a model with its source classifier, and classes to tune")
    probabilities = source_probabilities(source_head, context.features_and_logme(0)[0])
    targets = context.samples.targets
    relationship = category_relationship(probabilities, targets, context.labels.outputs)
    term = CoTuning(source_head, relationship, options.weight)
    return Regularised(model, context.task, {"co_tuning": term})


def build_stoch_norm(context: TuningContext, options: Options) -> Regularised:
    """The model with StochNorm for its BatchNorm layers."""
    model = context.load()
    model.model = stoch_norm(model.model)
    return Regularised(model, context.task, {})


def _attention(context: TuningContext) -> dict[str, Tensor | None]:
    """DELTA's attention for each stage, with a head fitted on the features as they came."""
    if context.labels.task != "classification":
        return dict.fromkeys(stage_names(context.load_image_model().model))
    from sklearn.linear_model import LogisticRegression  # slow to import

    model = context.load_image_model()
    features, targets = context.features_and_logme(0)[0].numpy(), context.samples.targets
    fitted = LogisticRegression(max_iter=1000).fit(features, targets.numpy())
    weight, bias = (torch.from_numpy(x).float() for x in (fitted.coef_, fitted.intercept_))
    with torch.no_grad():
        if context.labels.outputs == 2:  # scikit-learn gives one row for two classes
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        model.head.weight.copy_(weight)
        model.head.bias.copy_(bias)
    some = torch.randperm(len(targets), device="cpu")[:ATTENTION_SAMPLES]
    images = context.samples.batch(some.tolist())
    return {
        name: channel_attention(model, name, images, targets[some])
        for name in stage_names(model.model)
    }
