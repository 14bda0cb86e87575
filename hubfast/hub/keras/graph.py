"""A Keras model as one graph of layers and operations, and what these do to classes."""

from typing import Any

from hubfast.hub.classifier import OTHER, Kind, Step, kinds_of_operators

DROPOUT = {
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout"),
    *("GaussianNoise", "AlphaDropout", "ActivityRegularization"),
}
PASS = DROPOUT | {
    *("Flatten", "Reshape", "Identity", "Rescaling", "Masking", "Cast", "Squeeze", "ExpandDims"),
    *("Ravel", "Copy", "StopGradient"),
}
ACTIVATIONS = {
    *("ReLU", "LeakyReLU", "PReLU", "ELU", "BatchNormalization", "Relu", "Relu6", "LeakyRelu"),
    *("Gelu", "Silu", "Elu", "Selu", "Tanh", "HardSilu", "Softplus", "Clip", "Exp", "Log"),
    *("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "MaxPooling2D"),
    *("UpSampling1D", "UpSampling2D", "UpSampling3D", "Max", "Maximum", "Minimum", "Negative"),
}
AVERAGES = {
    *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D"),
    *("AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "Mean"),
}
SELECTS = {"GetItem", "Take", "Split", "Cropping1D"}
SOFTMAX = {"Softmax", "LogSoftmax", "Argmax", "TopK"}
SIGMOID = {"Sigmoid", "HardSigmoid"}
ARITHMETIC = {"Add", "Subtract", "Multiply", "Divide", "TrueDivide"}
CONVOLUTIONS = {
    *("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
}
KINDS = kinds_of_operators(PASS, ACTIVATIONS, AVERAGES, SELECTS, SOFTMAX, SIGMOID)


def unrolled(keras: Any, model: Any, shape: tuple[int | None, ...], dtype: str) -> Any:
    """Makes a functional model of the same layers; models within it are replaced by their layers.

    Args:
        keras: The package Keras.
        model: Functional, sequential, or a subclass whose `call` Keras can follow.
        shape: Shape of its input, the batch size first.
        dtype: Number type of its input.
    """
    images = keras.Input(batch_shape=shape, dtype=dtype)
    return keras.Model(images, keras.tree.flatten(_applied(keras, model, images)))


def _applied(keras: Any, layer: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(layer, keras.Sequential):
        (x,) = args
        for part in layer.layers:
            x = _applied(keras, part, x)
        return x
    if isinstance(layer, keras.Model) and hasattr(layer, "_run_through_graph"):
        parts = lambda part: lambda *a, **k: _applied(keras, part, *a, **k)  # noqa: E731
        outputs = layer._run_through_graph(keras.tree.flatten(args), operation_fn=parts)
        return outputs[0] if isinstance(outputs, list | tuple) and len(outputs) == 1 else outputs
    if isinstance(layer, keras.Model):
        return layer.call(*args)
    return layer(*args, **kwargs)


def node_of(tensor: Any) -> Any:
    """The call of a layer or operation that made a tensor."""
    made = tensor._keras_history
    return made.operation._inbound_nodes[made.node_index]


def step_of(tensor: Any) -> Step:
    """Tells how a tensor was made."""
    node = node_of(tensor)
    given, op = node.input_tensors, node.operation
    name = type(op).__name__
    if node.is_input or len(given) != 1:
        return OTHER
    if name == "TimeDistributed":  # runs the same layer on each token
        op, name = op.layer, type(op.layer).__name__
    if name == "Dense" or (name == "Matmul" and node.arguments.args[0] is given[0]):
        return Step(Kind.DENSE, given[0], also=_activation(op))
    if name in CONVOLUTIONS:
        if getattr(op, "groups", 1) != 1:
            return OTHER
        pointwise = all(side == 1 for side in op.kernel_size)
        return Step(Kind.CONV, given[0], pointwise, _axis(op), _activation(op))
    if name == "Activation":
        return Step(_activation(op) or Kind.PASS, given[0])
    if name in ARITHMETIC:
        first = not node.arguments.args or node.arguments.args[0] is given[0]
        inverse = name in ("Divide", "TrueDivide") and not first  # a number divided by the tensor
        return Step(Kind.ACTIVATION if inverse else Kind.PASS, given[0])
    if name in ("Permute", "Transpose"):
        axes = [0, *op.dims] if name == "Permute" else list(op.axes or [])
        return Step(Kind.PASS, given[0]) if axes and axes[0] == 0 else OTHER
    if name in ("Mean", "Max") and not _over_places(op, given[0]):
        return OTHER
    if name in KINDS:
        return Step(KINDS[name], given[0])
    return OTHER


def one_place(tensor: Any, channels: int) -> bool:
    """Whether a tensor has one place only, its channels on the axis given."""
    shape = list(tensor.shape)
    del shape[channels], shape[:1]
    return all(side == 1 for side in shape)


def before(tensor: Any) -> list[Any]:
    """The tensors that a tensor was made from."""
    return list(node_of(tensor).input_tensors)


def title(tensor: Any) -> str:
    """Name of the layer that made a tensor."""
    return str(node_of(tensor).operation.name)


def _activation(op: Any) -> Kind | None:
    """What the activation of a layer does; None where it has none."""
    found = getattr(op, "activation", None)
    name = getattr(found, "__name__", type(found).__name__).lower()
    if found is None or name == "linear":
        return None
    if name in ("softmax", "log_softmax", "logsoftmax"):
        return Kind.SOFTMAX
    return Kind.SIGMOID if name in ("sigmoid", "hard_sigmoid") else Kind.ACTIVATION


def _axis(op: Any) -> int:
    return 1 if getattr(op, "data_format", None) == "channels_first" else -1


def _over_places(op: Any, given: Any) -> bool:
    """Whether a reduction keeps classes apart: it spares the last axis, or axis 1 of maps."""
    dimensions = len(given.shape)
    axes = [op.axis] if isinstance(op.axis, int) else list(op.axis or [])
    named = {axis % dimensions for axis in axes}
    classes = dimensions - 1
    if dimensions > 2 and step_of(given).kind is Kind.CONV:
        classes = step_of(given).channels % dimensions
    return bool(named) and classes not in named
