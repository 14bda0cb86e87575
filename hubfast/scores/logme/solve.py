"""Solves for the evidence by the cheapest form of the features F that round-off allows."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from hubfast import ops
from hubfast.ops.reference import EvidenceMaximum
from hubfast.scores.logme.band_system import BandedSystem
from hubfast.scores.logme.spectral_system import (
    EPSILON,
    Decomposition,
    decompose,
    decompose_rows,
    decomposition_of,
    indicators,
    target_rows,
)
from hubfast.scores.statistics import FeatureStatistics

System = BandedSystem | Decomposition  # (F'F + t I)^-1, in either form

TOLERANCE = 1e-8  # largest error of the evidence that squaring F may cause
SQUARABLE = 1e-12  # features of a coarser resolution hold nothing that F'F in float64 would lose


def solve(
    stats: FeatureStatistics, columns: Tensor, samples: tuple[Tensor, Tensor] | None = None
) -> tuple[EvidenceMaximum, System]:
    """The evidence's maximum over t for every column, and the system that gave it.

    It takes the band form of F'F where the native core runs, and its spectrum otherwise. Where
    squaring F loses what the score needs, as it may for float64 features of a condition number
    above 1e7, it takes the singular values of F itself, if the samples are at hand; if they are
    not, it warns.

    Args:
        stats: The sums over all samples.
        columns: Indices of the target columns to take, `(C,)` int64.
        samples: All features `(n, D)` and their targets; None if they are not at hand.
    """
    coarse = stats.resolution > SQUARABLE
    if ops.resolvent_backend(stats.cross) == "native":
        banded = BandedSystem.of(stats, columns)
        found = banded.maximum(stats.count)
        if found is not None and (coarse or banded.full_rank):
            return found, banded
    spectral = decompose(stats, columns)
    found = spectral.maximum(stats.count)
    total = stats.target_square_sum[columns]
    if coarse or (spectral.rank == _full_rank(stats) and _precise(spectral, found, total)):
        return found, spectral
    samples = samples or stats.rows
    if samples is None:
        warnings.warn(
            "the sums over these float64 features do not tell dependent features from very small "
            "differences; for a precise score, fit the features as a whole, not in batches",
            stacklevel=4,
        )
        return found, spectral
    features, targets = samples
    exact = decompose_rows(features.double(), indicators(stats, targets)[:, columns])
    return exact.maximum(stats.count), exact


def columns_of(stats: FeatureStatistics) -> Tensor:
    """Indices of the target columns that have an evidence, `(C,)` int64.

    Raises:
        ValueError: There are no samples, there is a single class, a regression target is zero
            throughout, or targets are so large that their squares overflow.
    """
    if stats.count == 0:
        raise ValueError("no samples were counted yet")
    if not bool(torch.isfinite(stats.target_square_sum).all()):
        raise ValueError("targets must be below 1e150: their squares overflow float64")
    seen = stats.target_square_sum > 0
    if stats.classes is None:
        if not bool(seen.all()):
            zero = (~seen).nonzero().flatten().tolist()
            raise ValueError(f"targets must not be all zero, got such columns: {zero}")
    elif int(seen.sum()) < 2:
        raise ValueError(f"targets must have at least 2 classes, got {stats.classes.tolist()}")
    return seen.nonzero().flatten()


def solve_together(
    stats: Sequence[FeatureStatistics], columns: Sequence[Tensor], names: Sequence[str]
) -> list[tuple[EvidenceMaximum, System]]:
    """`solve` of many models on a GPU: spectra side by side, then one search for all evidences.

    Models whose float64 features may need more than their sums are solved one by one.

    Args:
        stats: The sums of each model, on a GPU.
        columns: Indices of the target columns to take, `(C,)` int64, for each model.
        names: Names of the models, for messages.

    Raises:
        RuntimeError: Eigenvalues were not found, or a search did not converge; the message names
            the models.
    """
    together = [i for i, each in enumerate(stats) if each.resolution > SQUARABLE]
    sides = [target_rows(stats[i], columns[i]) for i in together]
    named = [names[i] for i in together]
    grams, rhs = [side[0] for side in sides], [side[1].T for side in sides]
    spectra = ops.spectrum_batch(grams, rhs, names=named, backend="cusolver")
    forms = [
        decomposition_of(stats[i], columns[i], spectrum, side[2])
        for i, side, spectrum in zip(together, sides, spectra, strict=True)
    ]
    inputs = [form.evidence_inputs(stats[i].count) for i, form in zip(together, forms, strict=True)]
    maxima = ops.evidence_batch(inputs, names=named, backend="cuda")
    found: dict[int, tuple[EvidenceMaximum, System]] = {}
    found.update(zip(together, zip(maxima, forms, strict=True), strict=True))
    return [found[i] if i in found else solve(stats[i], columns[i]) for i in range(len(stats))]


def _precise(spectral: Decomposition, found: EvidenceMaximum, total: Tensor) -> bool:
    """Whether the evidence errs by less than TOLERANCE through round-off.

    Eigenvalues err by eps lambda_max. F'y errs by eps |F| |y|, which is divided by the smallest
    singular value and counts in the residual, since that is |y|^2 (`total`) less what F'y explains,
    which may be almost all.
    """
    eigenvalues = spectral.eigenvalues[spectral.eigenvalues > 0]
    if not len(eigenvalues):
        return True
    squared_condition = eigenvalues.max() / torch.maximum(found.t, eigenvalues.min())
    lost = EPSILON * squared_condition
    if bool((spectral.residual > 0).any()):
        lost = lost + EPSILON * squared_condition.sqrt() * total / found.quadratic
    return bool((lost < TOLERANCE).all())


def _full_rank(stats: FeatureStatistics) -> int:
    """The largest rank that the features can have; those that are always 0 do not count."""
    return min(stats.count, int((stats.square_sums > 0).sum()))
