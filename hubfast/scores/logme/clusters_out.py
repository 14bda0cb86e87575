"""What a ridge regression predicts of clusters of samples, such as sentences, without each.

With X the rows of a cluster, y their targets, f their predictions by the fit of all samples and
H = X (F'F + t I)^-1 X', the fit without the cluster misses them by (I - H)^-1 (y - f): Woodbury's
identity, so that nothing is fitted anew. For one sample that is Allen's formula.
"""

import torch
from torch import Tensor

from hubfast.scores.logme.spectral_system import EPSILON
from hubfast.utils.threads import one_torch_thread


@one_torch_thread()
def missed_without(
    missed: Tensor, coordinates: Tensor, shrinkage: Tensor, clusters: Tensor
) -> Tensor:
    """By how much each row is missed without its cluster, `(r, C)`.

    Its error is round-off over 1 - h, for h the largest eigenvalue of H, as that of one sample.

    Args:
        missed: y - f, `(r, C)`.
        coordinates: Of the rows along the eigenvectors of F'F, `(r, k)`.
        shrinkage: 1 / (lambda + t) for the eigenvalues and the t of each column, `(k, C)`.
        clusters: The cluster of each row, `(r,)`, each in one piece.
    """
    found = torch.empty_like(missed)
    sizes = torch.unique_consecutive(clusters, return_counts=True)[1].tolist()
    begin = 0
    for size in sizes:
        rows = slice(begin, begin + size)
        own = coordinates[rows]
        leverage = (own * shrinkage.T[:, None]) @ own.T  # (C, s, s)
        values, vectors = torch.linalg.eigh(leverage)
        along = vectors.mT @ missed[rows].T[:, :, None]
        along = along / (1 - values).clamp(min=EPSILON)[:, :, None]
        found[rows] = (vectors @ along)[:, :, 0].T
        begin += size
    return found
