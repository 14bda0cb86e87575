"""What the operators of torch.export programs do to classes."""

import operator
from typing import Any

import torch
from torch import fx

from hubfast.hub.classifier import OTHER, Kind, Step, kinds_of_operators

PASS = {
    *("dropout", "feature_dropout", "view", "_unsafe_view", "reshape", "flatten", "squeeze"),
    *("unsqueeze", "clone", "contiguous", "detach", "alias", "to", "_to_copy", "type_as"),
    *("quantize_per_tensor", "dequantize_per_tensor", "squeeze_", "dropout_", "getitem"),
}
ACTIVATIONS = {
    *("relu", "relu_", "relu6", "clamp", "clamp_", "clamp_min", "clip", "leaky_relu", "prelu"),
    *("elu", "selu", "gelu", "silu", "hardswish", "hardtanh", "hardtanh_", "mish", "softplus"),
    *("tanh", "exp", "log", "neg", "abs", "sqrt", "pow", "reciprocal", "batch_norm"),
    *("_native_batch_norm_legit_no_training", "adaptive_max_pool2d", "max_pool2d"),
    *("upsample_bilinear2d", "upsample_nearest2d", "interpolate", "rsub"),
}
AVERAGES = {"adaptive_avg_pool2d", "_adaptive_avg_pool2d", "avg_pool2d", "adaptive_avg_pool1d"}
SELECTS = {"slice", "select", "index_select", "narrow", "split", "chunk"}
SOFTMAX = {"softmax", "_softmax", "log_softmax", "_log_softmax", "argmax", "topk"}
SIGMOID = {"sigmoid", "sigmoid_", "hardsigmoid"}
ARITHMETIC = {"add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_"}
# A layer's operator, and the positions of what enters it and of its weights.
DENSE = {"linear": (0, 1), "addmm": (1, 2), "mm": (0, 1), "matmul": (0, 1)}
CONVOLUTIONS = {
    *("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose2d", "conv_transpose1d"),
}
CHANNELS_FIRST = CONVOLUTIONS | AVERAGES | {"batch_norm", "max_pool2d", "adaptive_max_pool2d"}
CHANNELS_LAST = {*DENSE, "layer_norm", "native_layer_norm"}
KINDS = kinds_of_operators(PASS, ACTIVATIONS, AVERAGES, SELECTS, SOFTMAX, SIGMOID)


def step_of(node: fx.Node) -> Step:
    """Tells how the tensor of `node` was made."""
    op, args = operation(node), list(node.args)
    first = args[0] if args and isinstance(args[0], fx.Node) else None
    if op in DENSE or op in CONVOLUTIONS:
        return _layer(op, args)
    if op in ARITHMETIC:
        given = [term for term in args[:2] if isinstance(term, fx.Node) and not is_fixed(term)]
        below = op.startswith("div") and given != args[:1]  # a number divided by the tensor
        kind = Kind.ACTIVATION if below else Kind.PASS
        return Step(kind, given[0]) if len(given) == 1 else OTHER
    if first is None or is_fixed(first):
        return OTHER
    if op in ("permute", "transpose", "mean", "amax"):
        return _over_axes(op, args, first)
    if op in KINDS:
        return Step(KINDS[op], first)
    return OTHER


def operation(node: Any) -> str:
    """Name of the operator that a node calls; empty for inputs and weights."""
    target = getattr(node, "target", None)
    if target is operator.getitem:
        return "getitem"
    return target.overloadpacket.__name__ if isinstance(target, torch._ops.OpOverload) else ""


def is_fixed(node: fx.Node) -> bool:
    """Whether `node` does not depend on the images."""
    if node.op == "placeholder":
        return False
    return node.op == "get_attr" or all(is_fixed(before) for before in node.all_input_nodes)


def one_place(node: fx.Node, channels: int) -> bool:
    """Whether a tensor has one place only, its channels on the axis given."""
    shape = list(node.meta["val"].shape)
    del shape[channels], shape[:1]
    return all(isinstance(side, int) and side == 1 for side in shape)


def channels(node: Any, given_last: bool) -> int:
    """The axis of the channels of maps, told by what made them."""
    while isinstance(node, fx.Node) and node.op == "call_function":
        op = operation(node)
        if op == "permute" and node.args[1] in ([0, 2, 3, 1], [0, 3, 1, 2]):
            return -1 if node.args[1] == [0, 2, 3, 1] else 1
        if op in CHANNELS_FIRST:
            return 1
        if op in CHANNELS_LAST:
            return -1
        node = next((before for before in node.all_input_nodes if not is_fixed(before)), None)
    return -1 if given_last else 1


def _layer(op: str, args: list[Any]) -> Step:
    x, weights = DENSE.get(op, (0, 1))
    if is_fixed(args[x]) or not is_fixed(args[weights]):
        return OTHER
    if op in DENSE:
        return Step(Kind.DENSE, args[x])
    kernel, entering = args[weights].meta["val"].shape, args[x].meta["val"].shape
    if "transpose" not in op and op != "convolution" and kernel[1] != entering[1]:
        return OTHER  # each group of channels is convolved for itself
    return Step(Kind.CONV, args[x], all(side == 1 for side in kernel[2:]), 1)


def _over_axes(op: str, args: list[Any], first: fx.Node) -> Step:
    if op == "permute":
        return Step(Kind.PASS, first) if args[1][0] == 0 else OTHER
    dimensions = first.meta["val"].ndim
    if op == "transpose":
        return OTHER if 0 in (axis % dimensions for axis in args[1:3]) else Step(Kind.PASS, first)
    if len(args) < 2:
        return OTHER
    axes = {axis % dimensions for axis in args[1]}
    if not axes or channels(first, given_last=False) % dimensions in axes:
        return OTHER
    return Step(Kind.AVERAGE if op == "mean" else Kind.ACTIVATION, first)
