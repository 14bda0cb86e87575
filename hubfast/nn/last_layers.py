"""What the last layers of a module do, seen while it runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

LINEAR = {"linear", "linear_dynamic"}  # "linear_dynamic" is that of quantised modules
CONVOLUTION = {"conv1d", "conv2d", "conv3d"}
PROBABILITIES = {"softmax", "log_softmax", "sigmoid", "logsigmoid"}
# Functions that change neither the meaning of the columns of logits nor their order.
SAME = {"flatten", "reshape", "view", "squeeze", "contiguous", "clone", "detach", "dropout"} | {
    *("float", "double", "half", "bfloat16", "to", "type", "type_as", "cpu", "dequantize")
}
AVERAGES = {"mean", "avg_pool1d", "avg_pool2d", "avg_pool3d"} | {
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
}
SCALED = {"mul", "div", "true_divide", "__mul__", "__rmul__", "__truediv__"} | {
    *("mul_", "div_", "__imul__", "__itruediv__"),
}
# After these functions a tensor of three axes is (batch, channels, places).
CHANNELS_FIRST = (
    CONVOLUTION
    | {"batch_norm", "group_norm", "instance_norm"}
    | {*("max_pool1d", "avg_pool1d", "adaptive_avg_pool1d", "adaptive_max_pool1d")}
)
# After these functions a tensor of three axes is (batch, places, channels).
CHANNELS_LAST = (
    LINEAR
    | {"layer_norm", "rms_norm", "embedding", "multi_head_attention_forward"}
    | {
        *("scaled_dot_product_attention", "lstm", "gru", "rnn_tanh", "rnn_relu"),
        *("transpose", "permute", "movedim", "swapaxes"),
    }
)


class LastLayers(TorchFunctionMode):
    """A context that notes the last linear layer that runs in it, and what is done to its output.

    A 1x1 convolution counts as a linear layer where its maps have one place or are averaged over
    all places. Softmax, scaling by a number, reshaping and changes of dtype behind the layer are
    followed.

    Attributes:
        channels_first: Whether the last layer that ran makes tensors of three axes
            `(batch, channels, places)`, and not `(batch, places, channels)`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.channels_first = False
        self._given: Tensor | None = None  # the input of the last linear layer
        self._end: Tensor | None = None  # that layer's output, as far as it was followed
        self._logits: Tensor | None = None  # what entered the first softmax behind the layer
        self._maps = False  # whether the layer's output has several places still
        self._exclusive, self._classes = True, 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            given = args[0] if args else (kwargs or {}).get("input")
            self._see(getattr(func, "__name__", ""), given, args, out)
        return out

    def classifier(self, out: Tensor) -> tuple[Tensor, Tensor | None] | None:
        """Input and logits of the linear layer that gives `out`; None if no linear layer does.

        The logits are None behind a sigmoid, whose classes do not exclude each other, and where
        classes and places share an axis.
        """
        if self._given is None or self._end is not out or self._maps:
            return None
        given = self._given.dequantize() if self._given.is_quantized else self._given
        logits = out if self._logits is None else self._logits
        flat = logits.ndim < 2 or (logits.ndim == 2 and logits.shape[1] != self._classes)
        return given, None if flat or not self._exclusive else logits

    def _see(self, name: str, given: Any, args: Sequence[Any], out: Tensor) -> None:
        if name in CHANNELS_FIRST:
            self.channels_first = True
        elif name in CHANNELS_LAST:
            self.channels_first = False
        if name in LINEAR or (name in CONVOLUTION and _is_one_by_one(args)):
            self._given, self._end, self._logits = given, out, None
            self._exclusive, self._classes = True, out.shape[-1 if name in LINEAR else 1]
            self._maps = name in CONVOLUTION and not _one_place(out)
        elif name in AVERAGES and self._maps and given is self._end:
            self._end, self._maps = out, not _one_place(out)
        elif self._end is not None and given is self._end:
            if name in PROBABILITIES:
                self._logits = given if self._logits is None else self._logits
                self._exclusive = self._exclusive and "softmax" in name
                self._end = out
            elif name in SAME or (name in SCALED and len(args) > 1 and _is_number(args[1])):
                self._end = out
            elif out is given:  # another layer has overwritten the output in place
                self._end = None


def unwrapped(module: Any) -> Any:
    """Takes off the wrappers of torch.compile, DataParallel and DistributedDataParallel."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif isinstance(module, nn.Module) and "_orig_mod" in module._modules:
            module = module._modules["_orig_mod"]
        else:
            return module


def weight_dtype(module: nn.Module) -> torch.dtype | None:
    """The dtype that floating-point inputs must have: that of the first such weight, or buffer.

    None for a module that has neither, such as one of quantised weights, which takes any dtype.
    """
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            if tensor.is_floating_point() and tensor.dtype.itemsize > 1:
                return tensor.dtype
    return None


def _is_one_by_one(args: Sequence[Any]) -> bool:
    """Whether the arguments `args` are those of a convolution that maps each place for itself."""
    weight = args[1] if len(args) > 1 else None
    stride = args[3] if len(args) > 3 else 1
    strides = (stride,) if isinstance(stride, int) else tuple(stride)
    groups = args[6] if len(args) > 6 else 1
    plain = isinstance(weight, Tensor) and set(weight.shape[2:]) == {1}
    return plain and set(strides) == {1} and groups == 1


def _one_place(x: Tensor) -> bool:
    """Whether `x`, `(B, C, ...)`, has one place only."""
    return x.ndim == 2 or (x.ndim > 2 and x[0, 0].numel() == 1)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) or (isinstance(x, Tensor) and x.numel() == 1)
