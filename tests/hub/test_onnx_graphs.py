"""Features and logits of ONNX files are told apart by structure, whoever wrote the file."""

import numpy as np
import pytest
from onnx import TensorProto
from small_graphs import (
    BIAS,
    CLASSES,
    FEATURES,
    MATRIX,
    Draft,
    dense,
    outputs_of,
    pointwise,
    same_classes,
)

MICROSOFT = "com.microsoft"


def jax_softmax(g):
    y = dense(g)
    top = g("ReduceMax", y, axes=[1], keepdims=0)
    top = g("Unsqueeze", g("Max", top, np.float32(-np.inf)), np.array([1]))
    exp = g("Exp", g("Sub", y, top))
    total = g("ReduceSum", exp, np.array([1]), keepdims=0)
    return g("Div", exp, g("Reshape", total, np.array([-1, 1])))


def plain_softmax_written_out(g):
    exp = g("Exp", dense(g))
    return g("Div", exp, g("ReduceSum", exp, np.array([1])))


def softmax_by_reciprocal(g):
    exp = g("Exp", dense(g))
    return g("Mul", exp, g("Reciprocal", g("ReduceSum", exp, np.array([1]))))


def log_softmax_written_out(g):
    y = dense(g)
    shifted = g("Sub", y, g("ReduceMax", y, axes=[1]))
    return g("Sub", shifted, g("Log", g("ReduceSum", g("Exp", shifted), np.array([1]))))


def cast_between(g):
    y = g("Cast", g("MatMul", "f", MATRIX), to=TensorProto.FLOAT16)
    y = g("Cast", g("Add", y, BIAS.astype(np.float16)), to=TensorProto.FLOAT)
    return g("Softmax", y)


def weights_behind_nodes(g):
    weights = g("Cast", MATRIX.T.astype(np.float64), to=TensorProto.FLOAT)
    return g("Add", g("MatMul", "f", g("Transpose", weights, perm=[1, 0])), g("Identity", BIAS))


def bias_of_the_batch(g):
    """The bias is spread over a batch whose size is read from the images."""
    count = g("Gather", g("Shape", "f"), np.array([0]))
    return g(
        "Add",
        g("MatMul", "f", MATRIX),
        g("Expand", BIAS, g("Concat", count, np.array([5]), axis=0)),
    )


def dequantised_weights(g):
    scale = np.float32(np.abs(MATRIX).max() / 127)
    weights = g("DequantizeLinear", np.round(MATRIX / scale).astype(np.int8), scale, np.int8(0))
    return g("Add", g("MatMul", "f", weights), BIAS)


def averaged_classes(g):
    return g("Softmax", g("Flatten", g("GlobalAveragePool", pointwise(g, "maps"))))


def nhwc_average(g):
    """Dense on places, then their mean, as tf2onnx writes Keras."""
    y = dense(g, g("Transpose", "maps", perm=[0, 2, 3, 1]))
    return g("ReduceMean", y, axes=[1, 2], keepdims=0)


ENDS = {
    "gemm": lambda g: g("Gemm", "f", MATRIX, BIAS),
    "gemm_transposed": lambda g: g("Gemm", "f", MATRIX.T.copy(), BIAS, transB=1),
    "matmul_add": dense,
    "add_of_bias_first": lambda g: g("Add", BIAS, g("MatMul", "f", MATRIX)),
    "softmax": lambda g: g("Softmax", dense(g)),
    "log_softmax": lambda g: g("LogSoftmax", dense(g)),
    "clipped_softmax": lambda g: g("Clip", g("Softmax", dense(g)), np.float32(0), np.float32(1)),
    "log_of_softmax": lambda g: g("Log", g("Softmax", dense(g))),
    "arg_max": lambda g: g("ArgMax", dense(g), axis=1),
    "best_three": lambda g: g("TopK", g("Softmax", dense(g)), np.array([3]), outputs=2),
    "reshape": lambda g: g("Reshape", dense(g), np.array([-1, CLASSES, 1, 1])),
    "jax": jax_softmax,
    "exp_sum_div": plain_softmax_written_out,
    "exp_sum_reciprocal": softmax_by_reciprocal,
    "log_softmax_written_out": log_softmax_written_out,
    "weights_behind_nodes": weights_behind_nodes,
    "bias_of_the_batch": bias_of_the_batch,
    "einsum": lambda g: g("Add", g("Einsum", "f", MATRIX, equation="bd,dc->bc"), BIAS),
    "convolution": lambda g: g("Flatten", pointwise(g, "averages")),
    "convolution_squeezed": lambda g: g("Squeeze", pointwise(g, "averages"), np.array([2, 3])),
    "convolution_nhwc": lambda g: g(
        "Reshape", g("Transpose", pointwise(g, "averages"), perm=[0, 2, 3, 1]), np.array([-1, 5])
    ),
    "convolution_averaged": averaged_classes,
    "dense_averaged": nhwc_average,
}


@pytest.mark.parametrize("constants", [False, True], ids=["initializers", "constants"])
@pytest.mark.parametrize("end", ENDS)
def test_what_enters_the_classifier_is_the_features(tmp_path, end, constants):
    g = Draft(constants=constants)
    g.features()
    g.save(tmp_path / "m.onnx", ENDS[end](g), opset=13)
    features, logits, model = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, FEATURES, atol=1e-5)
    same_classes(logits)
    assert model.notes == ()


# Quantised classifiers: features are what the quantised numbers stand for.

STEP = np.float32(FEATURES.max() / 200)
OUT = np.float32(0.1)


def codes(g):
    return g("QuantizeLinear", "f", STEP, np.uint8(0))


def weight_codes():
    scale = np.float32(np.abs(MATRIX).max() / 127)
    return np.round(MATRIX / scale).astype(np.int8), scale


def q_matmul(g):
    weights, scale = weight_codes()
    zero = np.uint8(0)
    y = g("QLinearMatMul", codes(g), STEP, zero, weights, scale, np.int8(0), OUT, np.uint8(128))
    return g("Softmax", g("Add", g("DequantizeLinear", y, OUT, np.uint8(128)), BIAS))


def q_gemm(g):
    weights, scale = weight_codes()
    bias = np.round(BIAS / (STEP * scale)).astype(np.int32)
    inputs = (codes(g), STEP, np.uint8(0), weights, scale, np.int8(0), bias, OUT, np.uint8(128))
    return g("DequantizeLinear", g("QGemm", *inputs, domain=MICROSOFT), OUT, np.uint8(128))


def q_conv(g):
    weights, scale = weight_codes()
    bias = np.round(BIAS / (STEP * scale)).astype(np.int32)
    x = g("QuantizeLinear", "averages", STEP, np.uint8(0))
    kernel = weights.T[:, :, None, None].copy()
    inputs = (x, STEP, np.uint8(0), kernel, scale, np.int8(0), OUT, np.uint8(128), bias)
    return g("Flatten", g("DequantizeLinear", g("QLinearConv", *inputs), OUT, np.uint8(128)))


def quantised_as_it_comes(g):
    weights, scale = weight_codes()
    x = g("DynamicQuantizeLinear", "f", outputs=3)
    y = g("MatMulInteger", x, weights, f"{x}_2", np.int8(0))
    y = g("Mul", g("Cast", y, to=TensorProto.FLOAT), g("Mul", f"{x}_1", scale))
    return g("Add", y, BIAS)


def quantised_between(g):
    weights, scale = weight_codes()
    x = g("DequantizeLinear", codes(g), STEP, np.uint8(0))
    y = g("Gemm", x, g("DequantizeLinear", weights, scale, np.int8(0)), BIAS)
    y = g("QuantizeLinear", y, OUT, np.uint8(128))
    return g("DequantizeLinear", y, OUT, np.uint8(128))


QUANTISED = {
    "QLinearMatMul": q_matmul,
    "QGemm": q_gemm,
    "QLinearConv": q_conv,
    "MatMulInteger": quantised_as_it_comes,
    "around_floats": quantised_between,
    "weights_only": dequantised_weights,
    "half_logits": cast_between,
}


@pytest.mark.parametrize("end", QUANTISED)
def test_quantised_classifiers(tmp_path, end):
    g = Draft()
    g.features()
    g.save(tmp_path / "m.onnx", QUANTISED[end](g))
    features, logits, _ = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, FEATURES, atol=STEP)
    same_classes(logits, tolerance=0.5)


def one_by_one_sigmoid(g):
    total = g("Add", g("Exp", g("Neg", dense(g))), np.float32(1))
    return g("Div", np.float32(1), total)


@pytest.mark.parametrize(
    "end", [lambda g: g("Sigmoid", dense(g)), one_by_one_sigmoid], ids=["sigmoid", "written_out"]
)
def test_sigmoids_have_features_and_no_source_probabilities(tmp_path, end):
    g = Draft()
    g.features()
    g.save(tmp_path / "m.onnx", end(g))
    features, logits, _ = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, FEATURES, atol=1e-5)
    assert logits is None
