"""Features of any size by a power of two that keeps sums over them from overflow and from zero.

A product with a power of two has no round-off, so a score that does not depend on the scale of its
features is the same to the last bit. Features of ordinary size are left as they are.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# Binary exponents of features that are left alone, 6e-61 to 1.6e60: their fourth powers, the
# largest that are summed up, and squares of such sums' square roots stay far inside of float64.
ORDINARY = 200
STEP = 1000  # exponents of a factor that float64 holds
POWERS = {
    "feature_sum": 1,
    "cross": 1,
    "_gram": 2,
    "cubic": 3,
    "quartic": 4,
}  # of FeatureStatistics


def largest_of(x: Tensor) -> float:
    """The largest absolute value in `x` if it is float64; 1 for coarser types: all are ordinary."""
    return float(x.abs().max()) if x.dtype == torch.float64 else 1.0


def exponent_of(largest: float) -> int:
    """The e for which features of this size are to be divided by 2^e; 0 for ordinary ones."""
    exponent = math.frexp(largest)[1]
    return exponent if largest > 0 and abs(exponent) > ORDINARY else 0


def times_power_of_two(x: Tensor, exponent: int) -> Tensor:
    """`x` times 2^exponent; `x` itself for 0."""
    while exponent:
        step = max(-STEP, min(exponent, STEP))
        x, exponent = x * 2.0**step, exponent - step
    return x


def of_ordinary_size(x: Tensor) -> Tensor:
    """`x` divided by a power of two if it is of no ordinary size."""
    return times_power_of_two(x, -exponent_of(largest_of(x)))


def check_squares(x: Tensor, name: str) -> None:
    """Refuses features whose squares overflow, for a score that depends on their scale.

    Raises:
        ValueError: They do.
    """
    if not largest_of(x) < 1e150:
        raise ValueError(f"features for {name} must be below 1e150: their squares overflow float64")


def covering(attributes: Mapping[str, Any], largest: float) -> dict[str, Any]:
    """Attributes of a FeatureStatistics, in a scale in which features of this size are ordinary.

    Args:
        attributes: Those that it has; no scale is smaller than that of its own features.
        largest: The largest absolute value of the features.
    """
    largest = max(attributes["largest"], largest)
    known = {"largest": largest, "exponent": exponent_of(largest)}
    exponent = attributes["exponent"] - known["exponent"]
    if not exponent:
        return known
    there = {name: attributes.get(name) for name in POWERS}
    sums = {
        name: times_power_of_two(x, POWERS[name] * exponent)
        for name, x in there.items()
        if x is not None
    }
    rows = [times_power_of_two(x, exponent) for x in attributes["_rows"]]
    return {**known, **sums, "_rows": rows}
