"""A pre-trained model without its classifier, and a new linear head: what every kind shares."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from hubfast.tuning.adapter import Adapter


class HeadedModel(nn.Module):
    """A model whose `features(samples)`, `(B, D)`, a new linear head turns into `(B, outputs)`.

    Attributes:
        model: The model, with an Identity in the place of its classifier.
        place: The classifier's name in the model; empty where it had none.
        source_head: The classifier that it came with, or None; in a tuple, as it is no part.
        width: D.
        adapter: The updates that LoRA merged into the model; None for other methods.
    """

    model: nn.Module
    place: str
    source_head: tuple[nn.Linear | None]
    width: int
    head: nn.Linear
    shift: Tensor | None
    scale: Tensor | None
    adapter: Adapter | None = None

    def put_head(self, head: nn.Linear, shift: Tensor | None, scale: Tensor | None) -> None:
        """Takes a head; forward gives `scale * head + shift`, each `(outputs,)` or None for none.

        A regression head so starts at the targets' mean and in their unit.
        """
        self.head = head
        self.register_buffer("shift", shift, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def features(self, samples: Any) -> Tensor:
        """What the head sees of a batch of samples, `(B, D)`."""
        raise NotImplementedError

    def logits(self, features: Tensor) -> Tensor:
        """`(B, D)` -> `(B, outputs)`."""
        out = self.head(features)
        if self.scale is not None:
            out = out * self.scale
        return out if self.shift is None else out + self.shift

    def export(self) -> nn.Module:
        """The plain model, the head in its classifier's place."""
        raise NotImplementedError

    def forward(self, samples: Any) -> Tensor:
        return self.logits(self.features(samples))

    def new_parameters(self) -> list[nn.Parameter]:
        """Those that were not pre-trained: the head's."""
        return list(self.head.parameters())

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Those that came with the model."""
        new = {id(p) for p in self.new_parameters()}
        return [p for p in self.model.parameters() if id(p) not in new]

    def plain_head(self) -> nn.Linear:
        """A copy of the head with scale and shift in its weights.

        Raises:
            ValueError: There is a shift, and the head has no bias to hold it.
        """
        head = copy.deepcopy(self.head)
        if head.bias is None and self.shift is not None:
            raise ValueError("shift must be None for a head without a bias")
        with torch.no_grad():
            if self.scale is not None:
                head.weight.mul_(self.scale[:, None])
            if head.bias is not None:
                head.bias.mul_(1 if self.scale is None else self.scale)
                head.bias.add_(0 if self.shift is None else self.shift)
        return head
