"""The papers' algorithms for the evidence: fixed points that `evidence` is the limit of."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class FixedPoint(NamedTuple):
    """Where a fixed-point iteration for one target column stopped; Python floats."""

    value: float  # L / n
    alpha: float
    beta: float
    t: float  # at the start of the last step, which the posterior mean uses
    steps: int


def mackay(
    features: Tensor, target: Tensor, *, steps: int = 1000, tolerance: float = 1e-12
) -> FixedPoint:
    """MacKay's fixed point (algorithm 2 of the slides) on `features` (n, D), `target` (n,)."""
    count, width = features.shape
    gram = features.T @ features
    eigenvalues = torch.linalg.eigvalsh(gram).clamp(min=0)
    identity = torch.eye(width, dtype=features.dtype, device=features.device)
    alpha = beta = t = 1.0
    done = 0
    for done in range(1, steps + 1):  # noqa: B007 - the number of steps is part of the result
        gamma = float((beta * eigenvalues / (alpha + beta * eigenvalues)).sum())
        precision = alpha * identity + beta * gram
        mean = beta * torch.linalg.solve(precision, features.T @ target)
        t = alpha / beta
        alpha = gamma / float(mean @ mean)
        beta = (count - gamma) / float(((features @ mean - target) ** 2).sum())
        if abs(alpha / beta - t) <= tolerance * t:
            break
    precision = alpha * identity + beta * gram
    mean = beta * torch.linalg.solve(precision, features.T @ target)
    error = float(((features @ mean - target) ** 2).sum())
    value = (
        count * math.log(beta)
        + width * math.log(alpha)
        - count * math.log(2 * math.pi)
        - beta * error
        - alpha * float(mean @ mean)
        - float(torch.logdet(precision))
    ) / (2 * count)
    return FixedPoint(value, alpha, beta, t, done)


def fixed_point(
    eigenvalues: Tensor,
    energy: Tensor,
    residual: float,
    count: int,
    *,
    width: int | None = None,
    steps: int = 1000,
    tolerance: float = 1e-12,
    epsilon: float = 0.0,
) -> FixedPoint:
    """The optimised fixed point (algorithm 3 of the slides) for one column.

    Args:
        eigenvalues: lambda, `(k,)`, all positive.
        energy: z^2, `(k,)`.
        residual: Delta.
        count: n.
        width: The factor of `log alpha` in the evidence; None for k, which is right. The public
            implementation takes D, which is wrong where k < D.
        steps: Number of steps after which it stops at the latest.
        tolerance: Relative change of t below which it stops.
        epsilon: A number added to both denominators (1e-5 in the public implementation).
    """
    alpha = beta = t = 1.0
    mean_square = error = 0.0
    done = 0
    for done in range(1, steps + 1):  # noqa: B007
        t = alpha / beta
        gamma = float((eigenvalues / (eigenvalues + t)).sum())
        mean_square = float((eigenvalues * energy / (t + eigenvalues) ** 2).sum())
        error = float((energy / (1 + eigenvalues / t) ** 2).sum()) + residual
        alpha = gamma / (mean_square + epsilon)
        beta = (count - gamma) / (error + epsilon)
        if abs(alpha / beta - t) <= tolerance * t:
            break
    factor = len(eigenvalues) if width is None else width
    value = (
        factor * math.log(alpha)
        + count * math.log(beta)
        - float((alpha + beta * eigenvalues).log().sum())
        - beta * error
        - alpha * mean_square
        - count * math.log(2 * math.pi)
    ) / (2 * count)
    return FixedPoint(value, alpha, beta, t, done)
