"""Co-Tuning: the source classifier is tuned along, on source classes that go with each target.

You, Kou, Long, Wang: "Co-Tuning for Transfer Learning", NeurIPS 2020.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubfast.tuning.objective import ForwardPass


def category_relationship(probabilities: Tensor, targets: Tensor, classes: int) -> Tensor:
    """P(source class | target class): class means of source probabilities.

    Args:
        probabilities: What the source classifier says of the training images, `(n, Cs)`.
        targets: `(n,)` int64 in 0..classes - 1.
        classes: How many target classes there are, C.

    Returns:
        `(C, Cs)`, rows summing to 1.

    Raises:
        ValueError: A class has no sample.
    """
    counts = targets.bincount(minlength=classes)
    if bool((counts == 0).any()):
        absent = (counts == 0).nonzero().flatten().tolist()
        raise ValueError(f"targets must hold every class, got none of {absent}")
    sums = probabilities.new_zeros(classes, probabilities.shape[1])
    return sums.index_add_(0, targets, probabilities) / counts[:, None]


def co_tuning(source_logits: Tensor, relationship: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of source logits `(B, Cs)` with P(source class | target); a scalar."""
    return F.cross_entropy(source_logits, relationship[targets].to(source_logits.dtype))


class CoTuning(nn.Module):
    """The term `weight * co_tuning`; published with weight 2.3. Its head starts as the source's.

    Args:
        source_head: The classifier that came with the model, `(D,) -> (Cs,)`; copied.
        relationship: P(source class | target class), `(C, Cs)`; see `category_relationship`.
    """

    def __init__(self, source_head: nn.Linear, relationship: Tensor, weight: float = 2.3):
        super().__init__()
        self.weight = weight
        self.source_head = copy.deepcopy(source_head)
        self.relationship: Tensor
        self.register_buffer("relationship", relationship, persistent=False)

    def forward(self, batch: ForwardPass) -> Tensor:
        logits = self.source_head(batch.features)
        return self.weight * co_tuning(logits, self.relationship, batch.targets)


def source_probabilities(source_head: nn.Linear, features: Tensor) -> Tensor:
    """Softmax of the source classifier on features `(n, D)`: `(n, Cs)`."""
    with torch.no_grad():
        return source_head(features).softmax(1)
