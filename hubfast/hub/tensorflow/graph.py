"""The graph of a TensorFlow signature, its variables as constants, and what it does to classes."""

from sys import intern
from typing import Any

from hubfast.hub.classifier import OTHER, Kind, Step, kinds_of_operators

PASS = {
    *("Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "BiasAdd", "StopGradient"),
    *("PreventGradient", "CheckNumerics", "Snapshot", "EnsureShape"),
}
ACTIVATIONS = {
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Tanh", "Softplus", "FusedBatchNormV3", "Exp"),
    *("Log", "Neg", "ClipByValue", "MaxPool", "Maximum", "Minimum", "ResizeBilinear"),
    *("ResizeNearestNeighbor", "Pow", "Sqrt", "Rsqrt"),
}
SELECTS = {"StridedSlice", "GatherV2", "Slice"}
SOFTMAX = {"Softmax", "LogSoftmax", "ArgMax", "TopKV2"}
ARITHMETIC = {"Add", "AddV2", "Sub", "Mul", "RealDiv", "Div"}
REDUCTIONS = {"Mean": Kind.AVERAGE, "Max": Kind.ACTIVATION}
KINDS = kinds_of_operators(PASS, ACTIVATIONS, {"AvgPool"}, SELECTS, SOFTMAX, {"Sigmoid"})


class SavedGraph:
    """Looks up what made a tensor, by its name.

    Args:
        signature: A signature of a SavedModel.
    """

    def __init__(self, signature: Any):
        from tensorflow.python.framework.convert_to_constants import (
            convert_variables_to_constants_v2,
        )

        self.function = convert_variables_to_constants_v2(signature)
        self.graph = self.function.graph
        names = sorted(signature.structured_outputs)
        tensors = [intern(tensor.name) for tensor in self.function.outputs]
        self.outputs = dict(zip(tensors, names, strict=True))  # names by tensors
        self._fixed: dict[str, bool] = {}

    def runner(self, wanted: list[str]) -> Any:
        """A function from images to tensors."""
        tensors = [self.graph.get_tensor_by_name(name) for name in wanted]
        return self.function.prune([self.function.inputs[0]], tensors)

    def step_of(self, name: str) -> Step:
        """Tells how a tensor was made."""
        op = self.graph.get_tensor_by_name(name).op
        given = [intern(tensor.name) for tensor in op.inputs if not self.is_fixed(tensor)]
        if len(given) != 1:
            return OTHER
        if op.type in ARITHMETIC:
            inverse = op.type in ("RealDiv", "Div") and given[0] != op.inputs[0].name
            return Step(Kind.ACTIVATION if inverse else Kind.PASS, given[0])
        if given[0] != op.inputs[0].name:
            return OTHER
        if op.type == "Transpose":
            order = self._integers(op.inputs[1])
            return Step(Kind.PASS, given[0]) if order and order[0] == 0 else OTHER
        if op.type in REDUCTIONS:
            return Step(REDUCTIONS[op.type], given[0]) if self._over_places(op) else OTHER
        if op.type in KINDS:
            return Step(KINDS[op.type], given[0])
        return _layer(op, given[0])

    def is_fixed(self, tensor: Any) -> bool:
        """Whether a tensor does not depend on the images."""
        op = tensor.op
        if op.name not in self._fixed:
            fixed = op.type in ("Const", "Shape") or bool(op.inputs)
            self._fixed[op.name] = fixed and (
                op.type == "Shape" or all(self.is_fixed(before) for before in op.inputs)
            )
        return self._fixed[op.name]

    def one_place(self, name: str, channels: int) -> bool:
        """Whether a tensor has one place only, its channels on the axis given."""
        shape = self.graph.get_tensor_by_name(name).shape
        if shape.rank is None:
            return False
        sides = shape.as_list()
        del sides[channels], sides[:1]
        return all(side == 1 for side in sides)

    def before(self, name: str) -> list[str]:
        """The tensors that a tensor was made from."""
        return [intern(tensor.name) for tensor in self.graph.get_tensor_by_name(name).op.inputs]

    def _integers(self, tensor: Any) -> list[int]:
        import tensorflow

        found = tensorflow.get_static_value(tensor)
        return [] if found is None else found.reshape(-1).tolist()

    def _over_places(self, op: Any) -> bool:
        """Whether a reduction spares the classes: the last axis, or a convolution's channels."""
        rank, axes = op.inputs[0].shape.rank, self._integers(op.inputs[1])
        if rank is None or not axes:
            return False
        classes = rank - 1
        below = self.step_of(op.inputs[0].name)
        if below.kind is Kind.CONV:
            classes = below.channels % rank
        return classes not in {axis % rank for axis in axes}


def _layer(op: Any, entering: str) -> Step:
    if op.type == "MatMul":
        return OTHER if op.get_attr("transpose_a") else Step(Kind.DENSE, entering)
    if op.type in ("BatchMatMul", "BatchMatMulV2"):
        return OTHER if op.get_attr("adj_x") else Step(Kind.DENSE, entering)
    if op.type != "Conv2D":
        return OTHER
    channels = 1 if op.get_attr("data_format") == b"NCHW" else -1
    kernel, maps = op.inputs[1].shape.as_list(), op.inputs[0].shape
    if maps.rank is None or maps[channels] != kernel[2]:
        return OTHER  # each group of channels is convolved for itself
    return Step(Kind.CONV, entering, kernel[:2] == [1, 1], channels)
