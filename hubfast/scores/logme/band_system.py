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
from hubfast.scores.logme.spectral_system import EPSILON, signal, target_rows
from hubfast.scores.statistics import FeatureStatistics

TOLERANCE = 1e-9  # on L; where round-off may exceed it, the spectral form takes over
LOWEST = 1e-7  # of |F'F|: a maximum at a smaller t is past TOLERANCE
DEEPEST = 1e-11  # of |F'F|: down to here L is good enough to see that it has one
TAIL = math.e**2  # of |F'F|: above, L is close to a parabola in 1 / t, so the grid may be coarse
TAIL_STEP = 2.0  # in log t
STEP = 1.0  # in log t; peaks of L are several units wide
HIGHEST = 1e8  # of |F'F|: above, L differs from its limit by < 1e-8 k / n
SPAN = 3.0  # in log t, of the maxima refined together: 25 nodes or so

Terms = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # t, columns -> log det (T,), Q (T, C)


@dataclass(frozen=True)
class BandedSystem:
    """(F'F + t I)^-1 F'y for every target column y, each with a t of its own."""

    form: BandForm  # of F'F; of FF' if `rows` are given
    rotated: Tensor  # F'y, or y, in the form's coordinates, (C, m)
    rows: Tensor | None  # F, (n, D)
    total: Tensor  # |y|^2, (C,)
    stats: FeatureStatistics

    @classmethod
    def of(cls, stats: FeatureStatistics, columns: Tensor) -> "BandedSystem":
        """From the sums, by the smaller side: FF' while `stats` keeps its rows (n <= D).

        Args:
            stats: On the CPU.
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
        if self.rows is None:  # Q is |y|^2 less what F'y explains, maybe almost all of it
            lost = lost + EPSILON * squared_condition.sqrt() * self.total / found.quadratic
        return found if bool((lost < TOLERANCE).all()) else None

    def means(self, t: Tensor) -> Tensor:
        """(F'F + t_c I)^-1 F'y_c, `(C, D)`; 0 where t is infinite."""
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
        else:  # Woodbury
            rotated = self.form.rotate(features @ self.rows.T)
            _, explained = self.form.quadratic_forms(rotated, nodes)
            values = (features.square().sum(1) - explained) / nodes[:, None]
        if nodes is not inside:
            values = between.basis(inside.log()) @ between.fit(values)
        found[:, kept] = values.T
        return found

    @property
    def full_rank(self) -> bool:
        """Whether only features (or samples) that are always 0 are under DEEPEST, or round-off."""
        stats = self.stats
        noise = self.form.norm * max(DEEPEST, max(stats.count, len(stats.feature_sum)) * EPSILON)
        gram_diagonal = stats.square_sums if self.rows is None else self.rows.square().sum(1)
        return self.form.missing_below(noise) < 0.5 + int((gram_diagonal == 0).sum())

    @property
    def rank(self) -> int:
        """Numerical rank of F; computes the eigenvalues."""
        return int(signal(self.form.eigenvalues(), self.stats).sum())

    def _terms(self, t: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        log_det, explained = self.form.quadratic_forms(self.rotated[columns], t)
        if self.rows is not None:
            return log_det, t[:, None] * explained
        return log_det, self.total[columns] - explained


def _search(terms: Terms, norm: float, total: Tensor, count: int) -> EvidenceMaximum | None:
    """The maximum of L over t for every column; None where one may lie below LOWEST."""
    silent = profile_value(total, torch.zeros_like(total), count)
    found = EvidenceMaximum(silent, torch.full_like(total, math.inf), total.clone())
    if norm == 0:
        return found
    grid = _grid(norm)
    log_det, quadratic = terms(grid.exp(), torch.arange(len(total), device=total.device))
    if not bool((quadratic > 0).all()):
        return None  # round-off
    value = profile_value(quadratic, log_det[:, None], count)
    best = value.argmax(0)
    rivals, second = second_peaks(value, STEP)
    if bool((grid[torch.cat([best, second])] <= math.log(norm * LOWEST)).any()):
        return None
    inside = (best < len(grid) - 1).nonzero().flatten()  # at the end, L still rises to its limit
    for columns, peaks in ((inside, best[inside]), (rivals, second)):
        for part in _groups(grid[peaks]):
            inner = _refine(terms, grid, peaks[part], columns[part], count)
            take_larger(found, columns[part], inner)
    return found


def _groups(log_t: Tensor) -> Iterator[Tensor]:
    """Indices of the entries that lie within SPAN of each other, group by group."""
    rest = log_t.argsort()
    while len(rest):
        near = log_t[rest] <= log_t[rest[0]] + SPAN
        yield rest[near]
        rest = rest[~near]


def _grid(norm: float) -> Tensor:
    """Values of log t."""
    low, tail, high = (math.log(norm * bound) for bound in (DEEPEST, TAIL, HIGHEST))
    bulk = torch.arange(low, tail, STEP, dtype=torch.float64, device="cpu")
    rest = torch.arange(tail, high, TAIL_STEP, dtype=torch.float64, device="cpu")
    return torch.cat([bulk, rest])


def _refine(
    terms: Terms, grid: Tensor, best: Tensor, columns: Tensor, count: int
) -> EvidenceMaximum:
    """Newton steps in log t from `grid[best]` on interpolants of log det and Q of `columns`."""
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
