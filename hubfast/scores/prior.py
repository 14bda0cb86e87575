"""The static prior: what one would guess of a model without looking at the target data."""

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
