"""How much of each model a sample takes, from the layer's own input."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

Activation = Literal["sigmoid", "softmax", "normalized"]


class Gate(nn.Module):
    """Gates of M models: mean over positions, I -> I // 4 + 1, ReLU, -> M, activation.

    Shu et al., "Zoo-Tuning", ICML 2021: the first map has no bias, and each layer has a gate of
    its own. Means and activation are in float32 under autocast, too.

    Args:
        channels: I, of the layer's input.
        models: M.
        activation: `"sigmoid"`, as published: gates are independent and sum to about M / 2, which
            a BatchNorm after the layer absorbs. `"softmax"`, or `"normalized"` (sigmoid over its
            sum): gates sum to one, for networks without.
    """

    def __init__(self, channels: int, models: int, activation: Activation = "sigmoid"):
        super().__init__()
        if activation not in get_args(Activation):
            raise ValueError(f"gate must be one of {get_args(Activation)}, got {activation!r}")
        hidden = channels // 4 + 1
        self.activation = activation
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.select = nn.Linear(hidden, models)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights; at first every model counts the same."""
        nn.init.kaiming_normal_(self.squeeze.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.select.weight)
        nn.init.zeros_(self.select.bias)

    @torch.no_grad()
    def favour(self, shares: Tensor) -> None:
        """Has gates start in proportion to `shares` `(M,)` of the largest, not all alike.

        The largest sigmoid starts at one half, as all do otherwise.
        """
        soft = self.activation == "softmax"
        self.select.bias.copy_(shares.log() if soft else (shares / 2).logit())

    def forward(self, x: Tensor) -> Tensor:
        """`x` `(B, I, ...)` -> `(B, M)` float32, or float64."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        hidden = torch.relu(self.squeeze(_means(x, dtype).to(self.squeeze.weight.dtype)))
        return self.activate(self.select(hidden).to(dtype))

    def activate(self, logits: Tensor) -> Tensor:
        """Logits `(..., M)` to gates."""
        if self.activation == "softmax":
            return logits.softmax(-1)
        gates = logits.sigmoid()
        return gates if self.activation == "sigmoid" else gates / gates.sum(-1, keepdim=True)

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"


def _means(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Mean over positions, `(B, I)`. Not by `mean`, which writes a gradient for each position."""
    if x.ndim == 2:
        return x
    positions = x.flatten(2)
    return positions.sum(2, dtype=dtype) / positions.shape[2]


class LiteGate(Gate):
    """Gates that all samples share, so that the layer is one mix and one plain layer.

    In training the mean over the batch; its moving average is what evaluation uses, so that a
    trained network folds to one plain model. The average is corrected for its start at zero.
    Under activation checkpointing, which runs a layer twice per step, it moves twice.

    Args:
        channels: Channels of the input, as in `Gate`; so are models and activation.
        models: M.
        activation: See `Gate`.
        momentum: Weight of the newest batch in the moving average.
    """

    def __init__(
        self,
        channels: int,
        models: int,
        activation: Activation = "sigmoid",
        momentum: float = 0.1,
    ):
        super().__init__(channels, models, activation)
        self.momentum = momentum
        self.average: Tensor
        self.weight: Tensor
        self.register_buffer("average", torch.zeros(models))
        self.register_buffer("weight", torch.zeros(()))  # of all batches so far in the average

    def forward(self, x: Tensor) -> Tensor:
        """`x` `(B, I, ...)` -> `(1, M)`."""
        if not self.training:
            return self.shared()[None]
        gates = super().forward(x).mean(0)
        self.average.lerp_(gates.detach().to(self.average.dtype), self.momentum)
        self.weight.lerp_(torch.ones_like(self.weight), self.momentum)
        return gates[None]

    def shared(self) -> Tensor:
        """The gates of evaluation, `(M,)`; untrained, those that it starts with."""
        untrained = self.activate(self.select.bias.to(self.average.dtype))
        corrected = self.average / self.weight.clamp(min=self.momentum)
        return torch.where(self.weight > 0, corrected, untrained)
