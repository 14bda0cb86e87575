"""What the untouched best model gives without tuning: the least that tuning should beat."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from hubfast.scores.knn import NEIGHBOURS, mean, neighbours, votes
from hubfast.scores.logme.logme import LogME
from hubfast.tuning.context import TuningContext
from hubfast.tuning.evaluation import Evaluation, quality
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.samples import SampleDataset

CHUNK = 2048  # samples whose neighbours are looked for at once
CONSTANT = {
    "classification": "majority class",
    "multilabel": "share of each label",
    "regression": "mean of the targets",
}


@dataclass(frozen=True)
class Baseline:
    """A predictor that needs no tuning, and how good it is."""

    name: str  # what predicts: "majority class", "k-NN" or "linear head"
    model: str  # the model whose untouched features it uses
    values: dict[str, float]  # quality by "validation" and "test", in the metric of the evaluation


def baselines(
    context: TuningContext, held_out: Mapping[str, SampleDataset]
) -> tuple[Baseline, ...]:
    """Three baselines of the best model, on the samples that the tuned model is evaluated on.

    - The most frequent class, or the mean of regression targets, whatever the sample.
    - k-NN: the vote, or the mean, of the nearest training samples by cosine, as in `scores.knn`.
    - A linear head: ridge regression on standardised features, of which LogME's evidence chooses
      the penalty, so that it needs neither steps nor held-out data.

    Args:
        context: The training data and the models, the best one first.
        held_out: The data to predict, by name.
    """
    if not held_out:
        return ()
    labels, features = context.labels, context.features_and_logme(0)[0]
    found: dict[str, dict[str, float]] = {}
    for part, samples in held_out.items():
        new = context.features_of(0, samples)
        for name, logits in predictions(features, context.samples.targets, new, labels).items():
            value, _ = quality(logits, samples.targets, labels)
            found.setdefault(name, {})[part] = value
    best = context.sources[0].name
    return tuple(Baseline(name, best, values) for name, values in found.items())


def predictions(
    features: Tensor, targets: Tensor, new: Tensor, labels: TargetEncoder
) -> dict[str, Tensor]:
    """Outputs `(r, C)` by baseline for new samples: larger for likelier classes, or the values.

    Args:
        features: `(n, D)` of the training samples.
        targets: Encoded targets of the training samples.
        new: `(r, D)` features of the new samples.
        labels: What the outputs stand for.
    """
    columns = targets.double()
    if labels.task == "classification":
        columns = one_hot(targets, labels.outputs).double()
    x, new = features.double().cpu(), new.double().cpu()
    return {
        CONSTANT[labels.task]: columns.mean(0).expand(len(new), -1),
        "k-NN": _nearest(x, columns, new, vote=labels.task == "classification"),
        "linear head": _linear(x, columns, new),
    }


def _nearest(x: Tensor, columns: Tensor, new: Tensor, *, vote: bool) -> Tensor:
    k, decide = min(NEIGHBOURS, len(x)), votes if vote else mean
    return torch.cat([decide(neighbours(x, part, k), columns) for part in new.split(CHUNK)])


def _linear(x: Tensor, columns: Tensor, new: Tensor) -> Tensor:
    middle, centre = x.mean(0), columns.mean(0)
    std = x.std(0, correction=0)
    noise = x.abs().amax(0) * len(x) * torch.finfo(torch.float32).eps  # features are float32
    scale = torch.where(std > noise, 1 / std, 0)
    targets = columns - centre
    found = centre.expand(len(new), -1).clone()
    varying = (columns != columns[:1]).any(0)  # a column that does not vary has nothing to fit
    if bool(varying.any()):
        fit = LogME.fit((x - middle) * scale, targets[:, varying], task="regression")
        found[:, varying] += fit.decision_function((new - middle) * scale)
    return found


def not_worth_it(
    evaluations: Mapping[str, Evaluation], found: tuple[Baseline, ...]
) -> tuple[str, ...]:
    """A sentence for each part of the data on which tuning did not beat every baseline."""
    sentences = []
    for part, evaluation in evaluations.items():
        known = [b for b in found if part in b.values]
        best = max(known, key=lambda b: b.values[part], default=None)
        if best is None or evaluation.value > best.values[part]:
            continue
        sentences.append(
            f"Tuning did not beat the {best.name} on the untouched features of {best.model}: "
            f"{part} {evaluation.metric} {evaluation.value:.4f}, {best.values[part]:.4f} without."
        )
    return tuple(sentences)
