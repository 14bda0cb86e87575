"""The graph of an ONNX file: what made each tensor, and which hold weights, wherever they stand."""

import math
from collections.abc import Iterator
from sys import intern
from typing import Any

RANDOM = ("RandomNormal", "RandomUniform", "Multinomial", "Bernoulli")
LAYOUT = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity")
CHANNELS_FIRST = (
    *("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "BatchNormalization", "LRN"),
    *("InstanceNormalization", "GroupNormalization", "MaxPool", "AveragePool", "Resize"),
    *("Upsample", "GlobalAveragePool", "GlobalMaxPool", "QLinearAveragePool", "FusedConv"),
)
CHANNELS_LAST = ("MatMul", "LayerNormalization", "FusedMatMul", "SkipLayerNormalization")
TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


class Graph:
    """Looks up what made a tensor. Names are interned: equal ones are one object.

    Args:
        proto: An onnx GraphProto. `dequantised` and `ask_for` add to it.
    """

    def __init__(self, proto: Any):
        self.proto = proto
        self.outputs = [intern(value.name) for value in proto.output]
        self._producers = {name: node for node in proto.node for name in node.output}
        self._weights = {tensor.name: tensor for tensor in proto.initializer}
        self._fixed = set(self._weights)
        self._fixed |= {sparse.values.name for sparse in proto.sparse_initializer}
        self.inputs = [value for value in proto.input if value.name not in self._fixed]
        for node in proto.node:
            if self._is_fixed(node):
                self._fixed.update(node.output)

    def _is_fixed(self, node: Any) -> bool:
        """Whether a node holds weights, or is made of these and of shapes alone."""
        if node.op_type in ("Shape", "Size"):
            return True
        return not node.op_type.startswith(RANDOM) and all(
            name in self._fixed for name in node.input if name
        )

    def producer(self, name: str) -> Any:
        """The node that made a tensor; None for inputs and initializers."""
        return self._producers.get(name)

    def reader(self, name: str) -> Any:
        """The only node that takes a tensor; None where there is none, or several."""
        readers = [node for node in self.proto.node if name in node.input]
        return readers[0] if len(readers) == 1 else None

    def is_fixed(self, name: str) -> bool:
        """Whether a tensor does not depend on the images."""
        return name in self._fixed

    def given(self, node: Any) -> list[str]:
        """Inputs of a node that depend on the images."""
        return [intern(name) for name in node.input if name and name not in self._fixed]

    def before(self, name: str) -> list[str]:
        """The tensors that a tensor was made from, weights aside."""
        node = self.producer(name)
        return [] if node is None else self.given(node)

    def weights(self, name: str) -> list[int]:
        """Shape of the weights that `name` is another number type of; empty if not known."""
        while (node := self.producer(name)) is not None:
            if node.op_type == "Constant":
                tensor = attribute(node, "value")
                return [] if tensor is None else list(tensor.dims)
            if node.op_type not in ("Identity", "Cast", "DequantizeLinear"):
                return []
            name = node.input[0]
        return list(self._weights[name].dims) if name in self._weights else []

    def integers(self, name: str) -> list[int]:
        """A list of whole numbers that the file holds; empty if it does not."""
        from onnx import numpy_helper

        node = self.producer(name)
        if node is not None and node.op_type == "Constant":
            found = attribute(node, "value_ints") or attribute(node, "value_int")
            tensor = attribute(node, "value")
            if found is not None:
                return list(found) if isinstance(found, list) else [found]
        else:
            tensor = self._weights.get(name)
        return [] if tensor is None else numpy_helper.to_array(tensor).reshape(-1).tolist()

    def through_layout(self, name: str) -> tuple[str, Any]:
        """The tensor that `name` is another shape of, and the node that made it."""
        node = self.producer(name)
        while node is not None and node.op_type in LAYOUT:
            name = node.input[0]
            node = self.producer(name)
        return intern(name), node

    def dequantised(self, name: str, scale: str, zero: str) -> str:
        """The real numbers that a quantised tensor stands for, by a node added to the graph."""
        from onnx import helper

        result = intern(f"{name}/hubfast_dequantised")
        if result not in self._producers:
            inputs = [part for part in (name, scale, zero) if part]
            node = helper.make_node("DequantizeLinear", inputs, [result])
            self.proto.node.append(node)
            self._producers[result] = node
        return result

    def ask_for(self, names: list[str]) -> None:
        """Makes tensors outputs of the graph, so that a session gives them."""
        from onnx import ValueInfoProto

        there = {value.name for value in self.proto.output}
        self.proto.output.extend(ValueInfoProto(name=n) for n in names if n not in there)

    def channels(self, name: str, given_last: bool) -> int:
        """Axis of the channels of maps, told by what made them.

        Args:
            name: Name of a tensor: maps with their channels on axis 1 or last.
            given_last: Whether the images have their channels last.
        """
        node = self.producer(name)
        while node is not None:
            if node.op_type == "Transpose":
                order = attribute(node, "perm", [])
                if order in (TO_LAST, TO_FIRST):
                    return -1 if order == TO_LAST else 1
            if node.op_type in CHANNELS_FIRST:
                return 1
            if node.op_type in CHANNELS_LAST:
                return -1
            before = self.given(node)
            node = self.producer(before[0]) if before else None
        return -1 if given_last else 1


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Value of an attribute of a node."""
    from onnx import helper

    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def count_parameters(graph: Any) -> int:
    """Numbers in initializers and Constant nodes, without shapes, axes and single numbers."""
    import onnx

    left_out = {onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING}
    biases = _quantised_biases(graph)
    total = 0
    for name, tensor in _tensors(graph):
        whole = tensor.data_type == onnx.TensorProto.INT32 and name not in biases
        if tensor.data_type not in left_out and not whole and len(tensor.dims):
            total += math.prod(tensor.dims)
    return total


def _tensors(graph: Any) -> Iterator[tuple[str, Any]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for sparse in graph.sparse_initializer:
        yield sparse.values.name, sparse.values
    for node in graph.node:
        for found in node.attribute:
            if found.HasField("g"):
                yield from _tensors(found.g)
            if node.op_type == "Constant" and found.HasField("t"):
                yield node.output[0], found.t
            if node.op_type == "Constant" and found.HasField("sparse_tensor"):
                yield node.output[0], found.sparse_tensor.values


def _quantised_biases(graph: Any) -> set[str]:
    """Names of what quantised layers take as whole numbers of 32 bits."""
    takers = ("DequantizeLinear", "QLinearConv", "QGemm")
    return {name for node in graph.node if node.op_type in takers for name in node.input}
