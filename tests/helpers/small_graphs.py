"""Small ONNX files as other tools write them: a body, and one of many ends."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from hubfast import as_source, as_target_data
from hubfast.hub import Extraction

SIDE, WIDTH, CLASSES = 8, 6, 5
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(WIDTH, 3, 4, 4)).astype(np.float32)
MATRIX = RNG.normal(size=(WIDTH, CLASSES)).astype(np.float32)
BIAS = RNG.normal(size=CLASSES).astype(np.float32)
ELEMENTS = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("float16"): TensorProto.FLOAT16}
ELEMENTS |= {np.dtype("float64"): TensorProto.DOUBLE, np.dtype("uint8"): TensorProto.UINT8}


class Draft:
    """A graph that is written node by node.

    Args:
        shape: Of the input "x".
        constants: Weights stand in Constant nodes, not in initializers.
    """

    def __init__(self, shape=("n", 3, SIDE, SIDE), dtype="float32", constants=False):
        self.nodes, self.initializers, self.constants = [], [], constants
        self.shape, self.dtype = shape, np.dtype(dtype)

    def weight(self, value, name=None):
        name = name or f"w{len(self.nodes)}_{len(self.initializers)}"
        tensor = numpy_helper.from_array(np.asarray(value), name)
        if self.constants:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initializers.append(tensor)
        return name

    def __call__(self, op, *inputs, outputs=1, name=None, domain="", **attributes):
        """Adds a node; its arrays become weights. Returns the name of its first output."""
        given = [i if isinstance(i, str) else self.weight(i) for i in inputs]
        first = name or f"t{len(self.nodes)}"
        names = [first, *(f"{first}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, given, names, domain=domain, **attributes))
        return first

    def features(self):
        """The body: maps (n, 6, 2, 2), averaged and flattened to "f" (n, 6)."""
        x = "x"
        if self.shape[-1] == 3:
            x = self("Transpose", x, perm=[0, 3, 1, 2])
        if self.dtype != np.float32:
            x = self("Cast", x, to=TensorProto.FLOAT)
        maps = self("Relu", self("Conv", x, KERNEL, strides=[4, 4]), name="maps")
        return self("Flatten", self("GlobalAveragePool", maps, name="averages"), name="f")

    def save(self, path, *outputs, opset=17, old=False, also=()):
        """Writes the file.

        Args:
            path: Where to.
            outputs: Names of the outputs.
            opset: Version of the operators.
            old: Weights are listed as inputs too, as before version 4 of the format.
            also: More inputs.
        """
        given = [helper.make_tensor_value_info("x", ELEMENTS[self.dtype], self.shape), *also]
        if old:
            given += [
                helper.make_tensor_value_info(t.name, t.data_type, t.dims)
                for t in self.initializers
            ]
        out = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "graph", given, out, self.initializers)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=3 if old else 8), path)


def expected_maps(images):
    """What the body makes of images (n, 3, 8, 8)."""
    windows = images.reshape(len(images), 3, 2, 4, 2, 4)
    maps = np.einsum("ncihjw,dchw->ndij", windows, KERNEL.astype(np.float64))
    return np.maximum(maps, 0)


COUNT = 5
IMAGES = torch.rand(COUNT, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) - 0.3
MAPS = expected_maps(IMAGES.double().numpy())
FEATURES = MAPS.mean((2, 3))
LOGITS = FEATURES @ MATRIX + BIAS


def outputs_of(path, images=IMAGES):
    """Features and source logits of a file for images, and the loaded model."""
    model = as_source(f"onnx:{path}").load()
    data = as_target_data((images, np.arange(len(images)) % 2))
    batches = list(model.batches(data, Extraction(batch_size=2, logits=True)))
    logits = [b.logits for b in batches]
    features = torch.cat([b.features for b in batches]).numpy()
    return features, None if logits[0] is None else torch.cat(logits).numpy(), model


def dense(g, x="f"):
    """A linear layer as most tools write it."""
    return g("Add", g("MatMul", x, MATRIX), BIAS)


def pointwise(g, x, weights=MATRIX):
    """The same layer as a convolution over single places."""
    return g("Conv", x, weights.T[:, :, None, None].copy(), BIAS)


def same_classes(logits, expected=LOGITS, tolerance=1e-4):
    """Logits are those expected, up to what a softmax does not see."""
    shift = (logits - expected).mean(1, keepdims=True)
    np.testing.assert_allclose(logits - shift, expected, atol=tolerance)
