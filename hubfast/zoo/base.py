"""What Zoo-Tuning's layers share: the weights of M models and their gate."""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from hubfast.ops import align as aligned
from hubfast.ops.backends import missing
from hubfast.ops.zoo_conv.op import Form
from hubfast.zoo.gate import Activation, Gate, LiteGate
from hubfast.zoo.planner import plan


@dataclass
class Samples:
    """How many samples a network is working on, where its layers see windows of them."""

    count: int | None = None


class ZooLayer(nn.Module):
    """Weights, bias, alignment and gate of M models.

    The kernels of all models are one parameter with as many dimensions as one of them, the models'
    output channels one after the other: `(M O, I / groups, k, k)`. So
    `Module.to(memory_format=torch.channels_last)` puts the input channels of a tap side by side, as
    it does for torch's layers. State dicts with flat kernels `(M, O, I / groups * k * k)`, which
    hubfast wrote before, load as well.
    """

    def __init__(
        self,
        models: int,
        weight: tuple[int, ...],
        channels: int,
        *,
        groups: int,
        bias: bool,
        align: bool,
        gate: Activation,
        lite: bool,
        form: Form | None,
        recompute: bool,
    ):
        super().__init__()
        if models < 1:
            raise ValueError(f"models must be at least 1, got {models}")
        out = weight[0]
        self.models, self.groups = models, groups
        self.form, self.recompute = form, recompute
        self.kernel = weight  # of one model
        self.native = missing("native") is None  # asked here: a compiled forward cannot import
        shape = (models, *weight) if len(weight) == 2 else (models * out, *weight[1:])
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(models, out)) if bias else None
        shape = (models, out, out // groups)
        self.alignment = nn.Parameter(torch.empty(shape)) if align else None
        self.gate = (LiteGate if lite else Gate)(channels, models, gate)
        self.reset_parameters()

    @property
    def weights(self) -> Tensor:
        """The parameter as `(M, O, I / groups, ...)`."""
        return self.weight.view(self.models, *self.kernel)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **options: Any
    ) -> None:
        name = f"{prefix}weight"
        flat = (self.models, self.kernel[0], prod(self.kernel[1:]))
        if name in state_dict and tuple(state_dict[name].shape) == flat:
            state_dict[name] = state_dict[name].reshape(self.weight.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest, **options)

    def reset_parameters(self) -> None:
        """Draws each model's weights as torch's layers do; alignment is the identity."""
        for weight in self.weights:
            nn.init.kaiming_uniform_(weight, a=5**0.5)
        if self.bias is not None:
            bound = prod(self.kernel[1:]) ** -0.5
            nn.init.uniform_(self.bias, -bound, bound)
        if self.alignment is not None:
            with torch.no_grad():
                size, kind = self.alignment.shape[2], self.alignment
                identity = torch.eye(size, dtype=kind.dtype, device=kind.device)
                self.alignment.copy_(identity.repeat(self.groups, 1).expand_as(self.alignment))

    @torch.no_grad()
    def fold_alignment(self) -> None:
        """Replaces the weights by the aligned ones, for inference."""
        if self.alignment is not None:
            self.weights.copy_(aligned(self.weights, self.alignment))
            self.alignment = None

    @torch.no_grad()
    def shared(self) -> dict[str, Tensor]:
        """Weight, and bias, of the plain layer that this one is in evaluation; Lite only.

        Raises:
            TypeError: Weights differ from sample to sample.
        """
        if not isinstance(self.gate, LiteGate):
            raise TypeError("only Lite layers are one plain layer: weights here differ by sample")
        weight = self.weights
        if self.alignment is not None:
            weight = aligned(weight, self.alignment)
        gates = self.gate.shared().to(weight.dtype)
        found = {"weight": torch.tensordot(gates, weight, 1).view(self.kernel)}
        return found if self.bias is None else found | {"bias": gates @ self.bias}

    def _form(self, samples: int, pixels: int, device: str) -> Form:
        if self.form is not None:
            return self.form
        return plan(
            samples,
            self.models,
            self.kernel,
            pixels,
            groups=self.groups,
            aligned=self.alignment is not None,
            device=device,
            native=self.native,
            recompute=self.recompute,
        )
