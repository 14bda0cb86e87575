"""Drop-in layers whose weights are a gated sum of M models' weights."""

from math import prod
from typing import cast

from torch import Tensor
from torch.nn.functional import pad

from hubfast.ops import zoo_conv
from hubfast.ops.zoo_conv.geometry import Geometry
from hubfast.ops.zoo_conv.op import Form
from hubfast.zoo.base import Samples, ZooLayer
from hubfast.zoo.gate import Activation

Padding = int | tuple[int, ...] | str


class _ZooConv(ZooLayer):
    dimensions: int

    def __init__(
        self,
        models: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: Padding = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        align: bool = False,
        gate: Activation = "sigmoid",
        lite: bool = False,
        form: Form | None = None,
        recompute: bool = True,
    ):
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name} must divide into {groups} groups, got {channels}")
        kernel = self._each(kernel_size)
        super().__init__(
            models,
            (out_channels, in_channels // groups, *kernel),
            in_channels,
            groups=groups,
            bias=bias,
            align=align,
            gate=gate,
            lite=lite,
            form=form,
            recompute=recompute,
        )
        self.kernel_size, self.stride, self.dilation = (
            kernel,
            self._each(stride),
            self._each(dilation),
        )
        self.padding = padding if isinstance(padding, str) else self._each(padding)
        self.padding_mode = padding_mode

    def forward(self, x: Tensor) -> Tensor:
        """`x` `(B, I, ...)` -> `(B, O, ...)`."""
        gates = self.gate(x)
        x, padding = self._padded(x)
        geometry = Geometry(self.stride, padding, self.dilation, self.groups)
        pixels = prod(geometry.output_size(tuple(x.shape[2:]), self.kernel_size))
        return zoo_conv(
            x,
            self.weights,
            gates,
            self.bias,
            self.alignment,
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
            form=self._form(x.shape[0], pixels, x.device.type),
        )

    def _padded(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """The input, and what padding with zeros is left to the convolution."""
        nothing = (0,) * self.dimensions
        kernel = list(zip(self.kernel_size, self.stride, self.dilation, strict=True))
        if self.padding == "valid":
            return x, nothing
        if self.padding == "tf_same":  # TensorFlow's: depends on the size of the input
            total = [
                max((-(n // -s) - 1) * s + d * (k - 1) + 1 - n, 0)
                for n, (k, s, d) in zip(x.shape[2:], kernel, strict=True)
            ]
        elif self.padding == "same":
            total = [d * (k - 1) for k, _, d in kernel]
        elif self.padding_mode == "zeros":
            return x, cast(tuple[int, ...], self.padding)
        else:
            total = [2 * cast(int, p) for p in self.padding]
        sides = [side for n in reversed(total) for side in (n // 2, n - n // 2)]
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return pad(x, sides, mode=mode), nothing

    def _each(self, value: int | tuple[int, ...]) -> tuple[int, ...]:
        return (value,) * self.dimensions if isinstance(value, int) else tuple(value)

    def extra_repr(self) -> str:
        return (
            f"models={self.models}, out_channels={self.kernel[0]}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, groups={self.groups}, "
            f"bias={self.bias is not None}, align={self.alignment is not None}"
        )


class ZooConv2d(_ZooConv):
    """`nn.Conv2d` whose weights are a gated sum of M models' weights.

    Shu et al., "Zoo-Tuning", ICML 2021.

    Args:
        models: M, at least 1.
        in_channels: Like all arguments up to `padding_mode` as `nn.Conv2d`'s; padding may also be
            `"tf_same"`.
        align: Transform each model's output channels by a trained matrix, at first the identity.
        gate: The gate's activation, see `Gate`.
        lite: Whether gates are shared by all samples, see `LiteGate`.
        form: The form of `hubfast.ops.zoo_conv`; None lets `plan` choose by shapes.
        recompute: Whether a GPU mixes weights again in backward, and keeps none until then.

    Parameters are `weight` `(M O, I / groups, k, k)`, of which `weights` is a view
    `(M, O, I / groups, k, k)`, `bias` `(M, O)`, `alignment` `(M, O, O / groups)`, and the gate's.
    """

    dimensions = 2


class ZooConv1d(_ZooConv):
    """`nn.Conv1d` whose weights are a gated sum of M models' weights; see `ZooConv2d`."""

    dimensions = 1


class ZooConv3d(_ZooConv):
    """`nn.Conv3d` whose weights are a gated sum of M models' weights; see `ZooConv2d`."""

    dimensions = 3


class ZooLinear(ZooLayer):
    """`nn.Linear` whose weights are a gated sum of M models' weights.

    Rows of the input are samples; what lies between the first and the last dimension, such as
    tokens, shares a sample's weights.

    Args:
        models: M, at least 1.
        in_features: I, the width of the input.
        out_features: O, the width of the output.
        bias: Whether a bias is added, as by `nn.Linear`.
        align: Whether outputs are aligned, as by `ZooConv2d`.
        gate: The gate's activation, see `Gate`.
        lite: Whether gates are shared by all samples, see `LiteGate`.
        form: The form of `hubfast.ops.zoo_conv`; None lets `plan` choose by shapes.
        recompute: Whether a GPU mixes weights again in backward, and keeps none until then.
        samples: Where a network cuts samples into windows and makes those its rows, tells how many
            samples there are; `ZooTuning` keeps it up to date.
    """

    def __init__(
        self,
        models: int,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        align: bool = False,
        gate: Activation = "softmax",
        lite: bool = False,
        form: Form | None = None,
        recompute: bool = True,
        samples: Samples | None = None,
    ):
        super().__init__(
            models,
            (out_features, in_features),
            in_features,
            groups=1,
            bias=bias,
            align=align,
            gate=gate,
            lite=lite,
            form=form,
            recompute=recompute,
        )
        self.samples = samples or Samples()

    def forward(self, x: Tensor) -> Tensor:
        """`x` `(B, ..., I)` -> `(B, ..., O)`."""
        count, rows = self.samples.count, x.shape[0]
        if count is None or rows % count:
            count = rows
        tokens = x.reshape(count, -1, x.shape[-1]).mT  # (B, I, T)
        y = zoo_conv(
            tokens,
            self.weight[..., None],
            self.gate(tokens),
            self.bias,
            self.alignment,
            form=self._form(count, tokens.shape[2], x.device.type),
        )
        return y.mT.reshape(*x.shape[:-1], self.weight.shape[1])

    def extra_repr(self) -> str:
        models, out, features = self.weight.shape
        return f"models={models}, in_features={features}, out_features={out}"
