"""L2-SP: weights stay near where they started.

Li, Grandvalet, Davoine: "Explicit Inductive Bias for Transfer Learning with Convolutional
Networks", ICML 2018.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hubfast.tuning.objective import ForwardPass
from hubfast.tuning.pretrained import TransferModel


def l2_sp(parameters: Iterable[Tensor], start: Iterable[Tensor]) -> Tensor:
    """`1/2 sum |w - w0|^2` over pairs of tensors of equal shapes; a scalar."""
    distances = [(w - w0).square().sum() for w, w0 in zip(parameters, start, strict=True)]
    return 0.5 * torch.stack(distances).sum()


class L2SP(nn.Module):
    """The term `weight * l2_sp(model) + head_weight / 2 |head|^2`, both published as 0.01.

    The optimiser's own weight decay must be 0. Buffers such as BatchNorm's statistics are free.
    """

    def __init__(self, model: TransferModel, weight: float = 0.01, head_weight: float = 0.01):
        super().__init__()
        self.weight, self.head_weight = weight, head_weight
        self.start = nn.ParameterList(
            nn.Parameter(p.detach().clone(), requires_grad=False) for p in model.model.parameters()
        )

    def forward(self, batch: ForwardPass) -> Tensor:
        head = torch.stack([p.square().sum() for p in batch.model.head.parameters()]).sum()
        anchored = l2_sp(batch.model.model.parameters(), self.start)
        return self.weight * anchored + 0.5 * self.head_weight * head
