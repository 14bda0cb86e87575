"""ONNX files as other tools write them: their inputs, number types, weights and versions."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from small_graphs import (
    BIAS,
    CLASSES,
    KERNEL,
    MATRIX,
    SIDE,
    WIDTH,
    Draft,
    expected_maps,
    outputs_of,
)

from hubfast import as_source

COUNT = 5
PIXELS = np.random.default_rng(1).integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
IMAGES = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255


def expected(images):
    return expected_maps(images.double().numpy()).mean((2, 3))


def run(path, images=IMAGES):
    return outputs_of(path, images)


def classifier(path, shape=("n", 3, SIDE, SIDE), dtype="float32", **saving):
    g = Draft(shape, dtype)
    g.features()
    g.save(path, g("Gemm", "f", MATRIX, BIAS), **saving)


SHAPES = {
    "named": ("n", 3, SIDE, SIDE),
    "minus_one": (-1, 3, SIDE, SIDE),  # as paddle2onnx writes what is open
    "zero": (0, 3, SIDE, SIDE),
    "open": (None, None, None, None),
    "all_minus_one": (-1, -1, -1, -1),
    "fixed": (2, 3, SIDE, SIDE),
    "fixed_one": (1, 3, -1, -1),
    "unknown": None,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_open_sizes_however_they_are_written(tmp_path, shape):
    g = Draft(SHAPES["named"])
    g.features()
    g.shape = SHAPES[shape]
    g.save(tmp_path / "m.onnx", g("Gemm", "f", MATRIX, BIAS))
    features, logits, _ = run(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, expected(IMAGES), atol=1e-5)
    np.testing.assert_allclose(logits, expected(IMAGES) @ MATRIX + BIAS, atol=1e-5)


@pytest.mark.parametrize("shape", [("n", SIDE, SIDE, 3), (2, SIDE, SIDE, 3), (-1, -1, -1, 3)])
@pytest.mark.parametrize("known", [True, False])
def test_channels_last(tmp_path, shape, known):
    """By the sizes of the input, or, where these are open, by the transposition behind it."""
    g = Draft(shape)
    g.features()
    g.shape = shape if known else [None] * 4
    g.save(tmp_path / "m.onnx", g("Gemm", "f", MATRIX, BIAS))
    features, _, _ = run(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, expected(IMAGES), atol=1e-5)
    np.testing.assert_allclose(run(tmp_path / "m.onnx", IMAGES.permute(0, 2, 3, 1))[0], features)
    preprocessing = {"input_size": SIDE, "mean": [0, 0, 0], "std": [1, 1, 1]}
    (tmp_path / "m.json").write_text(json.dumps(preprocessing))
    np.testing.assert_allclose(run(tmp_path / "m.onnx", PIXELS)[0], features, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("float64", 1e-5)])
def test_number_types_of_images(tmp_path, dtype, tolerance):
    classifier(tmp_path / "m.onnx", dtype=dtype)
    features, logits, _ = run(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, expected(IMAGES), atol=tolerance)
    assert (features.dtype, logits.dtype) == (np.float32, np.float32)


def test_models_of_whole_numbers_get_pixels(tmp_path):
    """Uint8 pixels can only be those of 0..255; a preprocessing that makes others is refused."""
    classifier(tmp_path / "m.onnx", ("n", SIDE, SIDE, 3), "uint8")
    features, _, _ = run(tmp_path / "m.onnx", PIXELS)
    np.testing.assert_allclose(features, expected(IMAGES * 255), rtol=1e-4, atol=1e-3)
    preprocessing = {"input_size": SIDE, "mean": [0.5] * 3, "std": [0.5] * 3}
    (tmp_path / "m.json").write_text(json.dumps(preprocessing))
    with pytest.raises(ValueError, match=r"takes uint8 pixels, its preprocessing gives numbers of"):
        run(tmp_path / "m.onnx", PIXELS)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((3, SIDE, SIDE), r"got x \(3, 8, 8\)"),
        (("n", 192), r"got x \(any, 192\)"),
        (("n", 1, SIDE, SIDE), r"got x \(any, 1, 8, 8\)"),
        (("n", SIDE, SIDE, 4), r"got x \(any, 8, 8, 4\)"),
        (("n", 3, 4, SIDE, SIDE), r"got x \(any, 3, 4, 8, 8\)"),
    ],
)
def test_other_inputs_are_refused_with_their_shapes(tmp_path, shape, said):
    g = Draft(shape)
    g.save(tmp_path / "m.onnx", g("Identity", "x"))
    with pytest.raises(ValueError, match=r"\(batch, height, width, 3\), " + said):
        as_source(f"onnx:{tmp_path}/m.onnx").load()


def test_other_numbers_of_inputs_are_refused_with_their_names(tmp_path):
    classifier(tmp_path / "m.onnx", also=[value("scale_factor", ["n", 2])])
    said = r"got 2 inputs: x \(any, 3, 8, 8\), scale_factor \(any, 2\)"
    with pytest.raises(ValueError, match=said):
        as_source(f"onnx:{tmp_path}/m.onnx").load()
    graph = helper.make_graph([], "g", [], [value("y", [1])], [])
    onnx.save(helper.make_model(graph), tmp_path / "none.onnx")
    with pytest.raises(ValueError, match=r"got 0 inputs"):
        as_source(f"onnx:{tmp_path}/none.onnx").load()


def test_other_number_types_are_refused(tmp_path):
    for kind, name in ((TensorProto.BFLOAT16, "bfloat16"), (TensorProto.STRING, "string")):
        graph = helper.make_graph([], "g", [value("x", ["n", 3, 8, 8], kind)], [value("x", [1])])
        onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
        with pytest.raises(ValueError, match=rf"must take float or uint8 images, got {name}"):
            as_source(f"onnx:{tmp_path}/m.onnx").load()


def test_weights_listed_as_inputs_are_none(tmp_path):
    classifier(tmp_path / "m.onnx", opset=8, old=True)
    features, logits, _ = run(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, expected(IMAGES), atol=1e-5)
    assert logits.shape == (COUNT, CLASSES)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 19, 21, 22])
def test_versions_of_the_operators(tmp_path, opset):
    """What became an input of an operator was an attribute before."""
    g = Draft()
    g.features()
    y = g("Add", g("MatMul", "f", MATRIX), BIAS)
    axes = np.array([1])
    y = g("Unsqueeze", y, axes) if opset >= 13 else g("Unsqueeze", y, axes=[1])
    y = g("Dropout", y, np.float32(0.5)) if opset >= 12 else g("Dropout", y, ratio=0.5)
    y = g("Squeeze", y, axes) if opset >= 13 else g("Squeeze", y, axes=[1])
    y = g("Softmax", y)
    low, high = np.float32(1e-7), np.float32(1)
    g.save(
        tmp_path / "m.onnx",
        g("Clip", y, low, high) if opset >= 11 else g("Clip", y, min=1e-7, max=1.0),
        opset=opset,
    )
    features, logits, _ = run(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, expected(IMAGES), atol=1e-5)
    np.testing.assert_allclose(logits, expected(IMAGES) @ MATRIX + BIAS, atol=1e-5)


@pytest.mark.parametrize("opset", [13, 18])
def test_axes_of_a_mean_over_classes_are_told_from_those_of_places(tmp_path, opset):
    for axes, width in (([2, 3], WIDTH), ([1, 3], 2)):
        g = Draft()
        g.features()
        y = g("Conv", "maps", MATRIX.T[:, :, None, None].copy(), BIAS)
        given = (y, np.array(axes)) if opset == 18 else (y,)
        named = {} if opset == 18 else {"axes": axes}
        g.save(tmp_path / "m.onnx", g("ReduceMean", *given, keepdims=0, **named), opset=opset)
        features, _, model = run(tmp_path / "m.onnx")
        assert features.shape == (COUNT, width)
        assert bool(model.notes) == (axes == [1, 3])


@pytest.mark.parametrize("constants", [False, True])
def test_parameters_are_counted_wherever_they_stand(tmp_path, constants):
    g = Draft(constants=constants)
    g.features()
    y = g("Reshape", g("Add", g("MatMul", "f", MATRIX), BIAS), np.array([-1, CLASSES]))
    g.save(tmp_path / "m.onnx", g("Mul", y, np.float32(2)))
    counted = as_source(f"onnx:{tmp_path}/m.onnx").load().parameters
    assert counted == KERNEL.size + MATRIX.size + BIAS.size


def test_weights_in_a_file_beside_it(tmp_path):
    classifier(tmp_path / "inside.onnx")
    onnx.save(
        onnx.load(tmp_path / "inside.onnx"),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    features, _, model = run(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, expected(IMAGES), atol=1e-5)
    assert model.parameters == KERNEL.size + MATRIX.size + BIAS.size


def test_functions_of_a_file_are_looked_into(tmp_path):
    """Newer exporters put layers into functions of the file's own."""
    g = Draft()
    g.features()
    own = helper.make_function(
        "own", "Linear", ["a", "w", "b"], ["c"],
        [helper.make_node("MatMul", ["a", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["c"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    y = g("Linear", "f", MATRIX, BIAS, domain="own")
    g.save(tmp_path / "m.onnx", y)
    model = onnx.load(tmp_path / "m.onnx")
    model.functions.append(own)
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, tmp_path / "m.onnx")
    features, logits, _ = run(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, expected(IMAGES), atol=1e-5)
    np.testing.assert_allclose(logits, expected(IMAGES) @ MATRIX + BIAS, atol=1e-5)
