"""Evidence, means and leverages without eigenvectors, through the band form of F'F or FF'.

What the evidence needs of the spectrum is, for every t, log det(I + F'F / t) and the quadratic
forms of the resolvent (F'F + t I)^-1. Both come from banded Cholesky factors (csrc/resolvent.cpp)
on a grid of t that holds every class's maximum within a step, then on a few Chebyshev nodes about
the maxima, between which Newton steps run on the interpolants.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hubfast.ops.linalg.band import BandForm
from hubfast.ops.reference import (
    EvidenceMaximum,
    newton,
    profile_value,
    second_peaks,
    take_larger,
)
from hubfast.scores.logme.chebyshev import LogInterpolation
from hubfast.scores.logme.spectral_system import EPSILON, decompose, signal, target_rows
from hubfast.scores.statistics import FeatureStatistics

# L is the log-evidence as a function of t. Bounds on t are multiples of |F'F|, the form's norm.
TOLERANCE = 1e-9  # largest error of L by round-off; beyond it the spectral form takes over
LOWEST = 1e-7  # bound on t: a maximum at a smaller t may err by more than TOLERANCE
DEEPEST = 1e-11  # bound on t: down to here L is precise enough to tell that it has a maximum
TAIL = math.e**2  # bound on t: above, L is close to a parabola in 1 / t and the grid may be coarse
TAIL_STEP = 2.0  # step of the grid above TAIL, in log t
STEP = 1.0  # step of the grid below TAIL, in log t; peaks of L are several units wide
HIGHEST = 1e8  # bound on t: above, L differs from its limit by less than 1e-8 k / n
SPAN = 3.0  # range of log t of the maxima that are refined together, on about 25 nodes

# Takes t (T,) and indices of C columns; gives log det (T,) and the quadratic forms Q (T, C).
Terms = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class BandedSystem:
    """(F'F + t I)^-1 F'y for every target column y, each with a t of its own."""

    form: BandForm  # band form of F'F, or of FF' if there are `rows`
    rotated: Tensor  # F'y, or y if there are `rows`, in the form's coordinates, (C, m)
    rows: Tensor | None  # F, (n, D), where n <= D
    total: Tensor  # |y|^2, (C,)
    stats: FeatureStatistics

    @classmethod
    def of(cls, stats: FeatureStatistics, columns: Tensor) -> "BandedSystem":
        """Reduces the smaller of F'F and FF'; FF' while `stats` keeps its rows (n <= D).

        Args:
            stats: The sums over all samples, on the CPU.
            columns: Indices of the target columns to take, `(C,)` int64.
        """
        gram, targets, rows = target_rows(stats, columns)
        form = BandForm.reduce(gram)
        return cls(form, form.rotate(targets), rows, stats.target_square_sum[columns], stats)

    def maximum(self, count: int) -> EvidenceMaximum | None:
        """The evidence's maximum over t; None where round-off may exceed TOLERANCE."""
        found = _search(self._terms, self.form.norm, self.total, count)
        if found is None:
            return None
        squared_condition = 1 + self.form.norm / found.t
        lost = EPSILON * squared_condition
        if self.rows is None:  # Q is |y|^2 less what F'y explains, which may be almost all.
            lost = lost + EPSILON * squared_condition.sqrt() * self.total / found.quadratic
        return found if bool((lost < TOLERANCE).all()) else None

    def means(self, t: Tensor) -> Tensor:
        """(F'F + t_c I)^-1 F'y_c for every column c, `(C, D)`; 0 where t_c is infinite."""
        kept = t.isfinite()
        solved = self.form.solve(self.rotated[kept], t[kept])
        back = self.form.rotate_back(solved)
        if self.rows is not None:
            back = back @ self.rows
        means = back.new_zeros(len(t), back.shape[1])
        means[kept] = back
        return means

    def leverage(self, features: Tensor, t: Tensor) -> Tensor:
        """x'(F'F + t_c I)^-1 x for every row x of `features` (r, D): `(r, C)`."""
        kept = t.isfinite()
        found = features.new_zeros(len(features), len(t))
        if not bool(kept.any()) or not len(features):
            return found
        inside = t[kept]
        between = LogInterpolation(float(inside.min()), float(inside.max()))
        nodes = between.nodes if len(between.nodes) < len(inside) else inside
        if self.rows is None:
            _, values = self.form.quadratic_forms(self.form.rotate(features), nodes)
        else:  # by the Woodbury identity
            rotated = self.form.rotate(features @ self.rows.T)
            _, explained = self.form.quadratic_forms(rotated, nodes)
            values = (features.square().sum(1) - explained) / nodes[:, None]
        if nodes is not inside:
            values = between.basis(inside.log()) @ between.fit(values)
        found[:, kept] = values.T
        return found

    def coordinates(self, features: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """As `Decomposition` gives them, by eigenvectors that are computed anew each time."""
        return decompose(self.stats, torch.arange(1, device="cpu")).coordinates(features, t)

    @property
    def full_rank(self) -> bool:
        """Whether F has full rank once features, or samples, that are always 0 are left out.

        Eigenvalues count as 0 below DEEPEST and below round-off.
        """
        stats = self.stats
        noise = self.form.norm * max(DEEPEST, max(stats.count, len(stats.feature_sum)) * EPSILON)
        gram_diagonal = stats.square_sums if self.rows is None else self.rows.square().sum(1)
        return self.form.missing_below(noise) < 0.5 + int((gram_diagonal == 0).sum())

    @property
    def rank(self) -> int:
        """Numerical rank of F, from eigenvalues that are computed anew each time."""
        return int(signal(self.form.eigenvalues(), self.stats).sum())

    def _terms(self, t: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        log_det, explained = self.form.quadratic_forms(self.rotated[columns], t)
        if self.rows is not None:
            return log_det, t[:, None] * explained
        return log_det, self.total[columns] - explained


def _search(terms: Terms, norm: float, total: Tensor, count: int) -> EvidenceMaximum | None:
    """The maximum of L over t for every column; None if a maximum may lie below LOWEST."""
    silent = profile_value(total, torch.zeros_like(total), count)
    found = EvidenceMaximum(silent, torch.full_like(total, math.inf), total.clone())
    if norm == 0:
        return found
    grid = _grid(norm)
    log_det, quadratic = terms(grid.exp(), torch.arange(len(total), device=total.device))
    if not bool((quadratic > 0).all()):
        return None  # Q is positive but for round-off.
    value = profile_value(quadratic, log_det[:, None], count)
    best = value.argmax(0)
    rivals, second = second_peaks(value, STEP)
    if bool((grid[torch.cat([best, second])] <= math.log(norm * LOWEST)).any()):
        return None
    inside = (best < len(grid) - 1).nonzero().flatten()  # At the end L still rises.
    for columns, peaks in ((inside, best[inside]), (rivals, second)):
        for part in _groups(grid[peaks]):
            inner = _refine(terms, grid, peaks[part], columns[part], count)
            take_larger(found, columns[part], inner)
    return found


def _groups(log_t: Tensor) -> Iterator[Tensor]:
    """Splits the indices of `log_t` into groups whose values lie within SPAN of each other."""
    rest = log_t.argsort()
    while len(rest):
        near = log_t[rest] <= log_t[rest[0]] + SPAN
        yield rest[near]
        rest = rest[~near]


def _grid(norm: float) -> Tensor:
    """The values of log t at which L is computed first; `norm` is |F'F|."""
    low, tail, high = (math.log(norm * bound) for bound in (DEEPEST, TAIL, HIGHEST))
    bulk = torch.arange(low, tail, STEP, dtype=torch.float64, device="cpu")
    rest = torch.arange(tail, high, TAIL_STEP, dtype=torch.float64, device="cpu")
    return torch.cat([bulk, rest])


def _refine(
    terms: Terms, grid: Tensor, best: Tensor, columns: Tensor, count: int
) -> EvidenceMaximum:
    """Climbs from `grid[best]` by Newton steps in log t, on interpolants of log det and Q.

    Args:
        terms: Computes log det and Q.
        grid: Ascending values of log t, `(T,)`.
        best: Index into `grid` of the start of each column, neither the first nor the last, `(c,)`.
        columns: Indices of the target columns, `(c,)`.
        count: Number of samples n.
    """
    below, start, above = grid[best - 1], grid[best], grid[best + 1]
    between = LogInterpolation(math.exp(below.min()), math.exp(above.max()))
    log_det, quadratic = terms(between.nodes, columns)
    functions = [between.fit(torch.cat([log_det[:, None], quadratic], 1))]
    for _ in range(2):
        functions.append(between.derivative(functions[-1]))

    def at(basis: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        return basis @ coefficients[:, 0], (basis * coefficients[:, 1:].T).sum(1)

    def derivatives(log_t: Tensor) -> tuple[Tensor, Tensor]:
        basis = between.basis(log_t)
        (_, q0), (d1, q1), (d2, q2) = (at(basis, each) for each in functions)
        return -d1 - count * q1 / q0, -d2 - count * (q2 / q0 - (q1 / q0) ** 2)

    log_t = newton(start, derivatives, below, above)
    log_det, quadratic = at(between.basis(log_t), functions[0])
    return EvidenceMaximum(profile_value(quadratic, log_det, count), log_t.exp(), quadratic)
