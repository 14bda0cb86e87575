"""What the operators of ONNX do to classes, those of onnxruntime's own domain among them."""

from sys import intern
from typing import Any

from hubfast.hub.classifier import OTHER, Kind, Step, kinds_of_operators
from hubfast.hub.onnx.graph import Graph, attribute

PASS = {
    *("Identity", "Cast", "CastLike", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze"),
    *("QuantizeLinear", "DequantizeLinear", "Expand"),
}
ACTIVATIONS = {
    *("Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Gelu"),
    *("HardSwish", "Mish", "Softplus", "Softsign", "Tanh", "BatchNormalization", "Exp", "Log"),
    *("Neg", "Abs", "Sqrt", "Pow", "Reciprocal", "Max", "Min", "QuickGelu", "FastGelu"),
    *("BiasGelu", "QLinearLeakyRelu", "GlobalMaxPool", "MaxPool", "Resize", "Upsample"),
}
AVERAGES = {
    *("GlobalAveragePool", "AveragePool", "QLinearGlobalAveragePool", "QLinearAveragePool"),
}
REDUCTIONS = {"ReduceMean": Kind.AVERAGE, "ReduceMax": Kind.ACTIVATION}
SELECTS = {"Slice", "Gather", "Split"}
SOFTMAX = {
    *("Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "TopK", "ZipMap", "LabelEncoder"),
    "QLinearSoftmax",
}
SIGMOID = {"Sigmoid", "HardSigmoid", "QLinearSigmoid"}
KINDS = kinds_of_operators(PASS, ACTIVATIONS, AVERAGES, SELECTS, SOFTMAX, SIGMOID)
ELEMENTWISE = {"Add", "Mul", "Sub", "Div", "Where", "QLinearAdd", "QLinearMul"}
# A layer's operator, and the positions of what enters it and of its weights.
DENSE = {
    **dict.fromkeys(("Gemm", "MatMul", "FusedGemm", "FusedMatMul", "MatMulNBits"), (0, 1)),
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulBnb4"), (0, 1)),
}
CONVOLUTIONS = {"Conv", "ConvTranspose", "FusedConv"}
# A quantised layer's operator, and the positions of what enters it, its scale, zero and weights.
QUANTISED = {
    **dict.fromkeys(("QLinearMatMul", "QGemm", "QLinearConv"), (0, 1, 2, 3)),
    "MatMulIntegerToFloat": (0, 2, 4, 1),
}
INTEGER = {"MatMulInteger", "ConvInteger"}
SUMS = {"ReduceSum", "ReduceMax", "ReduceLogSumExp"}
OF_SUMS = SUMS | {
    *("Exp", "Log", "Identity", "Cast", "Reshape", "Expand", "Unsqueeze", "Squeeze", "Max", "Add"),
    *("Sub", "Where", "IsInf", "IsNaN", "Not", "Abs", "Less", "Equal", "Clip", "Tile", "Transpose"),
}


def step_of(graph: Graph, name: str) -> Step:
    """Tells how the tensor `name` was made."""
    node = graph.producer(name)
    if node is None or graph.is_fixed(name):
        return OTHER
    op, given = node.op_type, graph.given(node)
    if not given:
        return OTHER
    if op in ELEMENTWISE:
        return _elementwise(graph, node, given)
    if op == "Transpose":
        order = attribute(node, "perm", [])
        return Step(Kind.PASS, given[0]) if order and order[0] == 0 else OTHER
    if op in REDUCTIONS:
        return Step(REDUCTIONS[op], given[0]) if _over_places(graph, node) else OTHER
    if op == "Reciprocal" and (found := _sigmoid_below(graph, given[0])):
        return found
    if op in KINDS:
        return Step(KINDS[op], given[0]) if given[0] == node.input[0] else OTHER
    return _layer(graph, node)


def _over_places(graph: Graph, node: Any) -> bool:
    """A reduction keeps classes apart."""
    axes = attribute(node, "axes")
    if axes is None and len(node.input) > 1 and node.input[1]:
        axes = graph.integers(node.input[1])
    if not axes:
        return False
    if graph.channels(node.input[0], given_last=False) == 1:
        return 1 not in axes
    return -1 not in axes and 3 not in axes and (2 not in axes or 1 in axes)


def _layer(graph: Graph, node: Any) -> Step:
    op = node.op_type
    if op in CONVOLUTIONS or op in DENSE:
        x, weights = DENSE.get(op, (0, 1))
        entering = intern(node.input[x])
    elif op in QUANTISED:
        x, scale, zero, weights = QUANTISED[op]
        parts = [node.input[i] if i < len(node.input) else "" for i in (x, scale, zero)]
        entering = graph.dequantised(*parts)
    elif op in INTEGER:
        weights = 1
        _, source = graph.through_layout(node.input[0])
        if source is None or source.op_type != "DynamicQuantizeLinear":
            return OTHER
        entering = graph.dequantised(node.input[0], source.output[1], source.output[2])
    else:
        return _einsum(graph, node) if op == "Einsum" else OTHER
    if not graph.is_fixed(node.input[weights]) or graph.is_fixed(node.input[0]):
        return OTHER
    if attribute(node, "transA", 0) or attribute(node, "group", 1) != 1:
        return OTHER
    also = Kind.ACTIVATION if attribute(node, "activation") else None
    if "Conv" not in op:
        return Step(Kind.DENSE, entering, also=also)
    kernel = attribute(node, "kernel_shape") or graph.weights(node.input[weights])[2:]
    pointwise = bool(kernel) and all(side == 1 for side in kernel)
    return Step(Kind.CONV, entering, pointwise, 1, also)


def _einsum(graph: Graph, node: Any) -> Step:
    """The step of a sum over the last axis of one operand, with weights."""
    given = graph.given(node)
    equation = attribute(node, "equation", b"").decode().replace(" ", "")
    terms, _, out = equation.partition("->")
    x = [t for t, name in zip(terms.split(","), node.input, strict=False) if name in given]
    others = [t for t, name in zip(terms.split(","), node.input, strict=False) if name not in given]
    if len(x) != 1 or len(others) != 1:
        return OTHER
    summed = [letter for letter in x[0] if letter in others[0] and letter not in out]
    last = summed == [x[0][-1]] if x[0] else False
    return Step(Kind.DENSE, given[0]) if last else OTHER


def _elementwise(graph: Graph, node: Any, given: list[str]) -> Step:
    """The step of arithmetic with weights, with one number per sample, or of a softmax."""
    if len(given) == 1:
        if node.op_type == "Div" and node.input[1] == given[0]:
            return _sigmoid_below(graph, given[0]) or Step(Kind.ACTIVATION, given[0])
        return Step(Kind.PASS, given[0])
    if len(given) != 2:
        return OTHER
    first, second = given
    if node.op_type == "Mul":
        scales = [_is_dynamic_scale(graph, name) for name in given]
        if scales.count(True) == 1:
            return Step(Kind.PASS, given[scales.index(False)])
        for top, other in ((first, second), (second, first)):
            below = graph.producer(other)
            if below is not None and below.op_type == "Reciprocal":
                return _softmax(graph, top, intern(below.input[0]))
    if node.op_type == "Div":
        return _softmax(graph, first, second)
    if node.op_type == "Sub" and (ops := _sums_from(graph, second, _below(graph, first))):
        kind = Kind.SOFTMAX if ops & {"Log", "ReduceLogSumExp"} else Kind.PASS
        return Step(kind, first)
    return OTHER


def _softmax(graph: Graph, top: str, bottom: str) -> Step:
    """The step of exponentials divided by their sum."""
    _, node = graph.through_layout(top)
    while node is not None and node.op_type == "Cast":
        _, node = graph.through_layout(node.input[0])
    if node is None or node.op_type != "Exp":
        return OTHER
    sources = {*_below(graph, top), intern(node.input[0])}
    ops = _sums_from(graph, bottom, sources)
    return Step(Kind.SOFTMAX, intern(node.input[0])) if "ReduceSum" in ops else OTHER


def _below(graph: Graph, name: str) -> set[str]:
    """The tensor, and those that it is another layout or number type of."""
    same = {name}
    while (node := graph.producer(name)) is not None and node.op_type in PASS:
        name = node.input[0]
        same.add(name)
    return same


def _sums_from(graph: Graph, name: str, sources: set[str]) -> set[str]:
    """Operators that lead from `sources` alone to `name`; none unless a sum over classes does."""
    seen, left, ops = {name}, [name], set()
    while left:
        tensor = left.pop()
        if tensor in sources:
            continue
        node = graph.producer(tensor)
        if node is None or node.op_type not in OF_SUMS:
            return set()
        ops.add(node.op_type)
        new = set(graph.given(node)) - seen
        seen |= new
        left += new
    return ops if ops & SUMS else set()


def _sigmoid_below(graph: Graph, name: str) -> Step | None:
    """1 / (1 + exp(-x)) written out, by its denominator."""
    node = graph.producer(name)
    for op in ("Add", "Exp"):
        if node is None or node.op_type != op:
            return None
        below = graph.given(node)
        if len(below) != 1:
            return None
        node = graph.producer(below[0])
    return Step(Kind.SIGMOID, below[0])


def _is_dynamic_scale(graph: Graph, name: str) -> bool:
    """The scale of numbers that are quantised as they come, maybe times that of the weights."""
    node = graph.producer(name)
    while node is not None and node.op_type in (*PASS, "Mul"):
        given = graph.given(node)
        if len(given) != 1:
            return False
        name = given[0]
        node = graph.producer(name)
    return node is not None and node.op_type == "DynamicQuantizeLinear" and name == node.output[1]
