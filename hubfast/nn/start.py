"""How much each model of a hub counts at the start of training several together."""

from collections.abc import Sequence

import torch
from torch import Tensor

LEAST = 0.01  # of the favourite's share that any other has, so that training can still find it


def shares(prior: Sequence[float], models: int) -> Tensor:
    """`prior` as shares of the largest, `(models,)` float64, at least LEAST.

    Raises:
        ValueError: `prior` is not one finite weight per model, holds a negative one, or zeros only.
    """
    found = torch.as_tensor(prior, dtype=torch.float64, device="cpu")
    good = found.shape == (models,) and bool((found.isfinite() & (found >= 0)).all())
    if not good or not found.sum() > 0:
        raise ValueError(f"prior must be {models} weights, not negative or all 0, got {prior}")
    return (found / found.max()).clamp(min=LEAST)
