"""Maximum evidence, by a one-dimensional search.

The evidence of a Bayesian linear model (You et al., ICML 2021, Eq. 2) is written here in its
profile form. With F = U diag(sigma) V', eigenvalues lambda = sigma^2 of F'F, z = U'y,
Delta = |y|^2 - |z|^2 and t = alpha / beta, the best beta has a closed form and only t is left:

    Q(t) = sum_i t z_i^2 / (t + lambda_i) + Delta,        beta = n / Q(t),  alpha = t beta
    L(t) / n = -1/2 [1 + log 2 pi + log(Q(t) / n)] - 1/(2n) sum_i log(1 + lambda_i / t)
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

T_FLOOR = 1e-8  # of the smallest eigenvalue: stands for the limit t -> 0, and beta stays finite
GRID_STEP = 0.5  # in log t; the terms of L are logistic in log t, no feature is narrower than ~1
CURVATURE = 0.2  # bounds |d2 L / d(log t)2|, in nats per sample
FLAT = 1e-12  # differences of L on the grid that are round-off
T_CEILING = 1e12  # of the largest eigenvalue; there L differs from its limit by < k/(2n) 1e-12
NEWTON_STEPS = 60  # each at worst halves a bracket of 1.0, so this reaches round-off
NEWTON_TOLERANCE = 1e-8  # in log t; L is flat at its maximum, so L is then exact to ~1e-16


class EvidenceInputs(NamedTuple):
    """What the evidence of one model is computed from, as `evidence` takes it; float64."""

    eigenvalues: Tensor  # lambda, (k,)
    energy: Tensor  # z^2, (k, C)
    residual: Tensor  # Delta, (C,)
    count: int  # type: ignore[assignment]  # n; hides the method of tuples


class EvidenceMaximum(NamedTuple):
    """Maximum over t of the evidence of each target column; all `(C,)` float64."""

    value: Tensor  # L / n at the maximum, in nats per sample
    t: Tensor  # alpha / beta there; inf: no signal found; T_FLOOR lambda_min: the limit t -> 0
    quadratic: Tensor  # Q(t) = n / beta


Climb = Callable[[Tensor, Tensor, Tensor, Tensor, int], EvidenceMaximum]


def profile_evidence(
    t: Tensor, eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int
) -> Tensor:
    """L(t) / n for every t and column.

    Args:
        t: `(T,)`, positive.
        eigenvalues: lambda, `(k,)`; zeros contribute nothing.
        energy: z^2, `(k, C)`.
        residual: Delta, `(C,)`.
        count: n.

    Returns:
        `(T, C)`.
    """
    shrunk = t[:, None] / (t[:, None] + eigenvalues)  # (T, k)
    quadratic = shrunk @ energy + residual  # (T, C)
    log_det = torch.log1p(eigenvalues / t[:, None]).sum(1)  # (T,)
    return profile_value(quadratic, log_det[:, None], count)


def evidence(
    eigenvalues: Tensor,
    energy: Tensor,
    residual: Tensor,
    count: int,
    find: Climb | None = None,
) -> EvidenceMaximum:
    """Maximises L(t) for all columns at once: a grid by one GEMM, then Newton in log t.

    The grid covers all t where a maximum can lie (`search_range`), so the maximum found is the
    global one up to features narrower than the grid, which L does not have; a second peak that is
    about as high is climbed, too. Both limits, t -> inf (no signal) and, where Delta = 0 and
    k = n, t -> 0, are compared with it.
    Arguments as in `profile_evidence`; `find` replaces `climb`.
    """
    positive = eigenvalues[eigenvalues > 0]
    total = energy.sum(0) + residual  # |y|^2
    none = torch.full_like(total, math.inf)
    silent = EvidenceMaximum(profile_value(total, torch.zeros_like(total), count), none, total)
    if not len(positive):
        return silent

    low, high = search_range(positive, energy[eigenvalues > 0], residual, count)
    grid = torch.arange(low, high + GRID_STEP, GRID_STEP, dtype=energy.dtype, device=energy.device)
    values = profile_evidence(grid.exp(), eigenvalues, energy, residual, count)
    find = find or climb
    inner = find(grid[values.argmax(0)], eigenvalues, energy, residual, count)
    columns, second = second_peaks(values, GRID_STEP)
    if len(columns):
        again = find(grid[second], eigenvalues, energy[:, columns], residual[columns], count)
        take_larger(inner, columns, again)
    inner = _larger(_limit_at_zero(eigenvalues, energy, residual, count), inner)
    return _larger(silent, inner)


def second_peaks(values: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """The columns of L's `values` (T, C) with a second peak that may be higher, and its index.

    Between points `step` apart in log t, L may be higher by step^2 CURVATURE / 2.
    """
    rise = values.diff(dim=0)
    peak = (rise[:-1] > FLAT) & (rise[1:] < -FLAT)
    others = torch.where(peak, values[1:-1], -math.inf)
    first, columns = values.argmax(0), torch.arange(values.shape[1], device=values.device)
    inside = (first > 0) & (first < len(values) - 1)
    others[first[inside] - 1, columns[inside]] = -math.inf
    heights, second = others.max(0)
    near = heights > values.max(0).values - step**2 * CURVATURE / 2
    return columns[near], second[near] + 1


def take_larger(maximum: EvidenceMaximum, columns: Tensor, other: EvidenceMaximum) -> None:
    """Replaces `columns` of `maximum` by `other` where that is larger, in place."""
    better = other.value > maximum.value[columns]
    for whole, part in zip(maximum, other, strict=True):
        whole[columns[better]] = part[better]


def search_range(
    eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int
) -> tuple[float, float]:
    """The range of log t outside which no column's evidence has a maximum, t -> 0 apart.

    For t <= lambda_min, gamma >= k/2 and n Q'/Q <= n t A / Delta with A = sum z^2 / lambda, so L
    rises up to t = k Delta / (2 n A). Where Delta = 0 that bound is 0; T_FLOOR lambda_min then is
    close enough to the limit t -> 0, which `evidence` adds.
    """
    smallest = eigenvalues.min()
    slope = (energy / eigenvalues[:, None]).sum(0)  # A, (C,)
    bound = len(eigenvalues) * residual / (2 * count * slope).clamp(min=1e-300)
    bound = torch.where(residual > 0, bound, smallest * T_FLOOR)
    low = torch.minimum(bound.min(), smallest).clamp(min=1e-300)
    return float(low.log()), float((eigenvalues.max() * T_CEILING).log())


def profile_value(quadratic: Tensor, log_det: Tensor, count: int) -> Tensor:
    """L / n from Q(t) and log det(I + F'F / t), of any shapes that broadcast."""
    return -0.5 * (1 + math.log(2 * math.pi) + (quadratic / count).log()) - log_det / (2 * count)


Derivatives = Callable[[Tensor], tuple[Tensor, Tensor]]  # log t to slope, curvature of 2 n L


def newton(log_t: Tensor, derivatives: Derivatives, low: Tensor, high: Tensor) -> Tensor:
    """The maximum of L between `low` and `high`, all (C,), by Newton from `log_t`, or bisection."""
    for _ in range(NEWTON_STEPS):
        slope, curvature = derivatives(log_t)
        low = torch.where(slope > 0, log_t, low)
        high = torch.where(slope > 0, high, log_t)
        step = log_t - slope / curvature
        inside = (curvature < 0) & (step >= low) & (step <= high)
        following = torch.where(inside, step, (low + high) / 2)
        still = (following - log_t).abs() < NEWTON_TOLERANCE
        log_t = following
        if bool(still.all()):
            break
    return log_t


def climb(
    log_t: Tensor, eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int
) -> EvidenceMaximum:
    """The maximum of L next to each column's grid point `log_t` (C,)."""

    def derivatives(log_t: Tensor) -> tuple[Tensor, Tensor]:
        shrunk = 1 / (1 + eigenvalues[:, None] * (-log_t).exp())  # t / (t + lambda), (k, C)
        kept = shrunk * (1 - shrunk)
        q0 = (energy * shrunk).sum(0) + residual
        q1 = (energy * kept).sum(0)
        q2 = (energy * kept * (1 - 2 * shrunk)).sum(0)
        slope = (1 - shrunk).sum(0) - count * q1 / q0
        return slope, -kept.sum(0) - count * (q2 / q0 - (q1 / q0) ** 2)

    t = newton(log_t, derivatives, log_t - GRID_STEP, log_t + GRID_STEP).exp()
    quadratic = (energy * (t / (t + eigenvalues[:, None]))).sum(0) + residual
    log_det = torch.log1p(eigenvalues[:, None] / t).sum(0)
    return EvidenceMaximum(profile_value(quadratic, log_det, count), t, quadratic)


def _limit_at_zero(
    eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int
) -> EvidenceMaximum:
    """The finite limit of L for t -> 0 where k = n and Delta = 0; -inf elsewhere."""
    keep = eigenvalues > 0
    slope = (energy[keep] / eigenvalues[keep][:, None]).sum(0)  # Q(t) / t, (C,)
    log_det = eigenvalues[keep].log().sum()
    value = profile_value(slope, log_det, count)
    exists = (residual == 0) & (int(keep.sum()) == count)
    value = torch.where(exists, value, torch.full_like(value, -math.inf))
    t = (eigenvalues[keep].min() * T_FLOOR).expand_as(value)
    return EvidenceMaximum(value, t, t * slope)


def _larger(a: EvidenceMaximum, b: EvidenceMaximum) -> EvidenceMaximum:
    keep = a.value >= b.value
    return EvidenceMaximum(*(torch.where(keep, x, y) for x, y in zip(a, b, strict=True)))
