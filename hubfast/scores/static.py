"""Static priors: what one would guess of a model without looking at the target data."""

import math

import torch
from torch import Tensor

from hubfast.scores.score import ANY_TASK, Score


def static_prior(parameters: int | None) -> float:
    """log10 of the number of parameters, higher is better: larger models tend to transfer better.

    It is the same for all target data, so a score is worth its cost only as far as it beats this
    one. It misleads among models of one size, or of different ages.

    Raises:
        ValueError: The number is not known, as for stored features.
    """
    if not parameters:
        raise ValueError("the static prior needs the number of parameters, which is not known")
    return math.log10(parameters)


def imagenet_prior(accuracy: float | None) -> float:
    """The model's own published top-1 accuracy on ImageNet, percent: the other usual guess.

    Kornblith, Shlens, Le, "Do Better ImageNet Models Transfer Better?", CVPR 2019. It misleads
    where the target is unlike ImageNet, and for models that were not trained as classifiers.

    Raises:
        ValueError: It is not known, or no percentage.
    """
    if accuracy is None:
        raise ValueError(
            "the ImageNet prior needs the model's accuracy, which is not known; a hub file may "
            "give it, as imagenet: 80.4"
        )
    if not 0 < accuracy <= 100:
        raise ValueError(f"imagenet must be a percentage, got {accuracy}")
    return float(accuracy)


class Constant:
    """A fitted score that no sample moves."""

    def __init__(self, score: float):
        self.score = score

    def influence(self, rows: Tensor) -> Tensor:
        """The score itself for each of the samples at `rows`, `(r,)` float64."""
        return torch.full((len(rows),), self.score, dtype=torch.float64, device="cpu")


def _fit_parameters(parameters: int | None, imagenet: float | None) -> Constant:
    return Constant(static_prior(parameters))


def _fit_imagenet(parameters: int | None, imagenet: float | None) -> Constant:
    return Constant(imagenet_prior(imagenet))


PARAMETERS = Score(
    name="parameters",
    title="Static prior",
    unit="log\N{SUBSCRIPT ONE}\N{SUBSCRIPT ZERO} of parameters",
    range="log10 of their number",
    tasks=ANY_TASK,
    needs="nothing",
    labels=False,
    fit=_fit_parameters,
    meaning=(
        "The static prior is log₁₀ of the number of parameters: larger models tend to transfer "
        "better. It does not look at the data at all, so a score is worth its cost as far as it "
        "beats this one. It misleads among models of one size."
    ),
    source=(
        "Kornblith, Shlens, Le: <cite>Do Better ImageNet Models Transfer Better?</cite>, CVPR "
        '2019. <a href="https://arxiv.org/abs/1805.08974" rel="noreferrer">arXiv:1805.08974</a>'
    ),
)

IMAGENET = Score(
    name="imagenet",
    title="ImageNet accuracy",
    unit="% top-1",
    range="the published top-1 accuracy",
    tasks=ANY_TASK,
    needs="nothing",
    labels=False,
    fit=_fit_imagenet,
    meaning=(
        "The ImageNet accuracy is the model&rsquo;s published top-1 accuracy, in percent: models "
        "that classify ImageNet better tend to transfer better to images like those. It does "
        "not look at the data at all, and misleads for other kinds of images and for models "
        "that were not trained as classifiers."
    ),
    source=(
        "Kornblith, Shlens, Le: <cite>Do Better ImageNet Models Transfer Better?</cite>, CVPR "
        '2019. <a href="https://arxiv.org/abs/1805.08974" rel="noreferrer">arXiv:1805.08974</a>'
    ),
)
