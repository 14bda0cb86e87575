"""What Zoo-Tuning's layers share: the weights of M models and their gate."""

from dataclasses import dataclass
from math import prod

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

    A model's kernel is flat in memory, `(M, O, I / groups * k * k)`, because what has four or five
    dimensions takes part in `Module.to(memory_format=torch.channels_last)`.
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
    ):
        super().__init__()
        if models < 1:
            raise ValueError(f"models must be at least 1, got {models}")
        out = weight[0]
        self.models, self.groups, self.form = models, groups, form
        self.kernel = weight  # of one model
        self.native = missing("native") is None  # asked here: a compiled forward cannot import
        self.weight = nn.Parameter(torch.empty(models, out, prod(weight[1:])))
        self.bias = nn.Parameter(torch.empty(models, out)) if bias else None
        shape = (models, out, out // groups)
        self.alignment = nn.Parameter(torch.empty(shape)) if align else None
        self.gate = (LiteGate if lite else Gate)(channels, models, gate)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws each model's weights as torch's layers do; alignment is the identity."""
        for weight in self.weight:
            nn.init.kaiming_uniform_(weight, a=5**0.5)
        if self.bias is not None:
            bound = self.weight[0, 0].numel() ** -0.5
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
            self.weight.copy_(aligned(self.weight, self.alignment))
            self.alignment = None

    @torch.no_grad()
    def shared(self) -> dict[str, Tensor]:
        """Weight, and bias, of the plain layer that this one is in evaluation; Lite only.

        Raises:
            TypeError: Weights differ from sample to sample.
        """
        if not isinstance(self.gate, LiteGate):
            raise TypeError("only Lite layers are one plain layer: weights here differ by sample")
        weight: Tensor = self.weight
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
        )
