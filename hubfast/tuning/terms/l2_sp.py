"""L2-SP: weights stay near where they started.

Li, Grandvalet, Davoine: "Explicit Inductive Bias for Transfer Learning with Convolutional
Networks", ICML 2018.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hubfast.tuning.headed import HeadedModel
from hubfast.tuning.objective import ForwardPass


def l2_sp(parameters: Iterable[Tensor], start: Iterable[Tensor]) -> Tensor:
    """`1/2 sum |w - w0|^2` over pairs of tensors of equal shapes; a scalar."""
    distances = [(w - w0).square().sum() for w, w0 in zip(parameters, start, strict=True)]
    return 0.5 * torch.stack(distances).sum()


class L2SP(nn.Module):
    """The term `weight * l2_sp(model) + head_weight / 2 |new|^2`, both published as 0.01.

    New is what was not pre-trained: the head, and of texts' models the layers that lead to it
    where the checkpoint has none. The optimiser's own weight decay must be 0. Buffers such as
    BatchNorm's statistics are free.
    """

    def __init__(self, model: HeadedModel, weight: float = 0.01, head_weight: float = 0.01):
        super().__init__()
        self.weight, self.head_weight = weight, head_weight
        self.start = nn.ParameterList(
            nn.Parameter(p.detach().clone(), requires_grad=False)
            for p in model.pretrained_parameters()
        )

    def forward(self, batch: ForwardPass) -> Tensor:
        new = torch.stack([p.square().sum() for p in batch.model.new_parameters()]).sum()
        anchored = l2_sp(batch.model.pretrained_parameters(), self.start)
        return self.weight * anchored + 0.5 * self.head_weight * new
