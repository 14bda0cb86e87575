"""Static priors: what one would guess of a model without looking at the target data."""

import math


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
