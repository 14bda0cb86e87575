"""The numbers of the public LogME implementation (thuml/LogME, fixed-point form), faults included.

That implementation stops after 11 steps or a change below 1e-3, adds 1e-5 to both denominators,
weighs log alpha by D although it sums only k = min(n, D) eigenvalues, and counts every class id
from 0 to the largest one, seen or not. For features with n > D of deficient rank its numbers are
round-off, which cannot be reproduced; here they come from the true rank.
"""

import dataclasses

import torch
from torch import Tensor

from hubfast.ops import reference
from hubfast.scores.logme.spectral_system import Decomposition

STEPS, TOLERANCE, EPSILON = 11, 1e-3, 1e-5


def with_absent_classes(spectral: Decomposition, classes: Tensor) -> tuple[Decomposition, Tensor]:
    """Adds an all-zero target column for every class id below the largest that no sample has.

    Args:
        spectral: The decomposition with one column per class that some sample has.
        classes: Ids of these classes, ascending, `(C,)` int64.

    Returns:
        The decomposition with one column per id from 0 to the largest, and these ids.

    Raises:
        ValueError: A class id is negative.
    """
    if int(classes[0]) < 0:
        raise ValueError(f"compat='thuml' needs class ids >= 0, got {int(classes[0])}")
    size = int(classes[-1]) + 1
    z = spectral.z.new_zeros(len(spectral.z), size)
    residual = spectral.residual.new_zeros(size)
    z[:, classes], residual[classes] = spectral.z, spectral.residual
    every = torch.arange(size, device=classes.device)
    return dataclasses.replace(spectral, z=z, residual=residual), every


def fixed_points(
    spectral: Decomposition, count: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Evidence, alpha, beta and t of each target column, each `(C,)` float64.

    Args:
        spectral: The decomposition of features and targets.
        count: Number of samples n.
        width: Number of features D.
    """
    kept = spectral.eigenvalues > 0
    found = [
        reference.fixed_point(
            spectral.eigenvalues[kept],
            z[kept].square(),
            float(residual),
            count,
            width=width,
            steps=STEPS,
            tolerance=TOLERANCE,
            epsilon=EPSILON,
        )
        for z, residual in zip(spectral.z.T, spectral.residual, strict=True)
    ]
    table = torch.tensor(found, dtype=torch.float64, device=spectral.z.device)
    value, alpha, beta, t, _ = table.T
    return value, alpha, beta, t
