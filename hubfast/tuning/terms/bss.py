"""Batch spectral shrinkage as a term of the loss; see `hubfast.ops.bss`."""

from torch import Tensor, nn

from hubfast.nn.collectives import rows_of_all
from hubfast.ops import bss
from hubfast.tuning.objective import ForwardPass


class BSS(nn.Module):
    """The term `weight * bss(features, k)`; published with weight 1e-3 and k = 1.

    In several processes the features are those of the whole batch.
    """

    def __init__(self, weight: float = 1e-3, k: int = 1):
        super().__init__()
        self.weight, self.k = weight, k

    def forward(self, batch: ForwardPass) -> Tensor:
        features = rows_of_all(batch.features)
        return self.weight * bss(features, min(self.k, *features.shape))
