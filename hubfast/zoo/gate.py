"""Gates of a Zoo-Tuning layer: how much of each model a sample takes, by the layer's input."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

Activation = Literal["sigmoid", "softmax", "normalized"]


class Gate(nn.Module):
    """Gates of M models from the mean over positions of the I channels of a layer's input.

    A linear map without bias to I // 4 + 1 values, ReLU, a linear map to M logits, and the
    activation, as in Shu et al., "Zoo-Tuning", ICML 2021, where each layer has a gate of its own.
    Means and activation are computed in float32 under autocast, too.

    Args:
        channels: Channels I of the layer's input.
        models: Number of models M.
        activation: `"sigmoid"`, as published, gives independent gates that sum to about M / 2 at
            the start, which a BatchNorm after the layer absorbs. `"softmax"` and `"normalized"`
            (sigmoids divided by their sum) give gates that sum to one, for networks without
            BatchNorm.

    Raises:
        ValueError: `activation` is none of these.
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
        """Draws the weights anew, such that every model has the same gate at first."""
        nn.init.kaiming_normal_(self.squeeze.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.select.weight)
        nn.init.zeros_(self.select.bias)

    @torch.no_grad()
    def favour(self, shares: Tensor) -> None:
        """Makes gates start in proportion to `shares`, and not all alike.

        The largest sigmoid starts at one half, as all of them do otherwise.

        Args:
            shares: Share of each model relative to the largest share, `(M,)`, in (0, 1].
        """
        soft = self.activation == "softmax"
        self.select.bias.copy_(shares.log() if soft else (shares / 2).logit())

    def forward(self, x: Tensor) -> Tensor:
        """Gates `(B, M)` for `x`, `(B, I, ...)`: float64 for float64 inputs, float32 otherwise."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        hidden = torch.relu(self.squeeze(_means(x, dtype).to(self.squeeze.weight.dtype)))
        return self.activate(self.select(hidden).to(dtype))

    def activate(self, logits: Tensor) -> Tensor:
        """Turns logits `(..., M)` into gates of the same shape."""
        if self.activation == "softmax":
            return logits.softmax(-1)
        gates = logits.sigmoid()
        return gates if self.activation == "sigmoid" else gates / gates.sum(-1, keepdim=True)

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"


def _means(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Mean over positions, `(B, I)`.

    Divides a sum, since the gradient of `mean` is written out for each position.
    """
    if x.ndim == 2:
        return x
    positions = x.flatten(2)
    return positions.sum(2, dtype=dtype) / positions.shape[2]


class LiteGate(Gate):
    """Gates that all samples share, so that the layer is one mix and one plain layer.

    Training takes the mean of the batch's gates. Evaluation takes the moving average of these
    means, so that a trained network folds to one plain model. The average is corrected for its
    start at zero. Activation checkpointing runs a layer twice per step, so the average then moves
    twice per step.

    Args:
        channels: Channels I of the layer's input.
        models: Number of models M.
        activation: What turns logits into gates, as in `Gate`.
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
        self.register_buffer(
            "weight", torch.zeros(())
        )  # total weight of the batches in the average

    def forward(self, x: Tensor) -> Tensor:
        """Gates `(1, M)` that all samples of `x`, `(B, I, ...)`, share."""
        if not self.training:
            return self.shared()[None]
        gates = super().forward(x).mean(0)
        self.average.lerp_(gates.detach().to(self.average.dtype), self.momentum)
        self.weight.lerp_(torch.ones_like(self.weight), self.momentum)
        return gates[None]

    def shared(self) -> Tensor:
        """The gates of evaluation, `(M,)`; before any training, the gates of the start."""
        untrained = self.activate(self.select.bias.to(self.average.dtype))
        corrected = self.average / self.weight.clamp(min=self.momentum)
        return torch.where(self.weight > 0, corrected, untrained)
