"""Of which output of an ONNX file the features are: places, tokens, several, no classifier."""

import numpy as np
import pytest
import torch
from small_graphs import (
    BIAS,
    CLASSES,
    COUNT,
    FEATURES,
    IMAGES,
    LOGITS,
    MAPS,
    MATRIX,
    SIDE,
    WIDTH,
    Draft,
    dense,
    outputs_of,
    pointwise,
    same_classes,
)

from hubfast import as_source, rank


def flattened_tokens(g):
    tokens = g("Reshape", g("Transpose", "maps", perm=[0, 2, 3, 1]), np.array([-1, WIDTH]))
    return g("Softmax", g("Reshape", dense(g, tokens), np.array([-1, 4, CLASSES])), axis=2)


def test_a_classifier_of_places_gives_its_features_averaged_over_them(tmp_path):
    """A segmentation network: classes of places are no classes of images."""
    g = Draft()
    g.features()
    scales = np.array([1, 1, 2, 2], np.float32)
    g.save(tmp_path / "m.onnx", g("Softmax", g("Resize", pointwise(g, "maps"), "", scales), axis=1))
    features, logits, _ = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, FEATURES, atol=1e-5)
    assert logits is None


def test_a_detector_of_one_class_gives_its_maps_averaged(tmp_path):
    """A transposed convolution and a sigmoid, as text detectors end."""
    g = Draft()
    g.features()
    kernel = np.ones((WIDTH, 1, 2, 2), np.float32)
    g.save(tmp_path / "m.onnx", g("Sigmoid", g("ConvTranspose", "maps", kernel, strides=[2, 2])))
    features, logits, _ = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, FEATURES, atol=1e-5)
    assert logits is None


@pytest.mark.parametrize("batch", ["n", 2])
def test_tokens_that_a_dense_layer_gets_as_rows_are_averaged(tmp_path, batch):
    g = Draft((batch, 3, SIDE, SIDE))
    g.features()
    g.save(tmp_path / "m.onnx", flattened_tokens(g))
    features, logits, _ = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, FEATURES, atol=1e-5)
    assert logits is None


# Models without a classifier


EMBEDDINGS = {
    "averages": (lambda g: "f", FEATURES),
    "maps": (lambda g: "maps", FEATURES),
    "maps_with_channels_last": (lambda g: g("Transpose", "maps", perm=[0, 2, 3, 1]), FEATURES),
    "flattened_maps": (lambda g: g("Flatten", "maps"), MAPS.reshape(COUNT, -1)),
    "normalised": (
        lambda g: g("Div", g("Gemm", "f", MATRIX, BIAS), g("ReduceL2", "f", axes=[1])),
        LOGITS / np.linalg.norm(FEATURES, axis=1, keepdims=True),
    ),
    "activation": (lambda g: g("Relu", dense(g)), np.maximum(LOGITS, 0)),
    "convolution_with_activation": (
        lambda g: g("Flatten", g("GlobalAveragePool", g("Relu", pointwise(g, "maps")))),
        np.maximum(np.einsum("ndij,dc->ncij", MAPS, MATRIX) + BIAS[:, None, None], 0).mean((2, 3)),
    ),
    "convolution_of_places": (
        lambda g: g("Flatten", pointwise(g, "maps")),
        (np.einsum("ndij,dc->ncij", MAPS, MATRIX) + BIAS[:, None, None]).reshape(COUNT, -1),
    ),
}


@pytest.mark.parametrize("end", EMBEDDINGS)
def test_without_a_classifier_the_output_is_the_features_and_the_row_says_so(tmp_path, end):
    build, expected = EMBEDDINGS[end]
    g = Draft()
    g.features()
    output = build(g)
    g.save(tmp_path / "m.onnx", output)
    features, logits, model = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, expected, atol=1e-4)
    assert logits is None
    (note,) = model.notes
    assert note == (
        f"no classifier seen in the file: the features are its output {output!r}, "
        "averaged over places"
    )


def test_the_note_is_in_the_ranking(tmp_path):
    g = Draft()
    g.features()
    g.save(tmp_path / "m.onnx", "f")
    found = rank(f"onnx:{tmp_path}/m.onnx", (IMAGES, torch.arange(COUNT) % 2), progress=False)
    assert found[0].width == WIDTH
    assert "no classifier seen in the file" in found[0].note


def softmax_of_a_sum(g):
    return g("Softmax", g("Add", dense(g), g("MatMul", "f", MATRIX)))


def test_classes_whose_layer_is_not_found_do_not_pass_for_features(tmp_path):
    g = Draft()
    g.features()
    g.save(tmp_path / "m.onnx", softmax_of_a_sum(g))
    with pytest.raises(
        ValueError, match=r"of .*m.onnx is classes, and the linear layer .* not found"
    ):
        as_source(f"onnx:{tmp_path}/m.onnx").load()


def test_probabilities_of_unknown_operators_do_not_pass_for_features(tmp_path):
    g = Draft()
    g.features()
    squares = g("Mul", "f", "f")
    total = g("Add", g("ReduceSum", squares, np.array([1])), np.float32(1e-30))
    g.save(tmp_path / "m.onnx", g("Div", squares, total))
    with pytest.raises(ValueError, match=r"rows add up to 1"):
        outputs_of(tmp_path / "m.onnx", IMAGES.abs())


# Several outputs


def test_the_output_with_a_classifier_is_taken_wherever_it_stands(tmp_path):
    g = Draft()
    g.features()
    logits = dense(g)
    g.save(tmp_path / "m.onnx", "maps", "f", g("ArgMax", logits, axis=1), g("Softmax", logits))
    features, logits, model = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, FEATURES, atol=1e-5)
    same_classes(logits)
    assert model.notes == ()


def test_an_embedding_that_a_classifier_takes_is_the_features(tmp_path):
    g = Draft()
    g.features()
    embedding = g("Gemm", "f", MATRIX, BIAS)
    logits = g("Gemm", embedding, MATRIX.T.copy())
    g.save(tmp_path / "m.onnx", g("Identity", embedding), logits)
    features, logits, model = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, LOGITS, atol=1e-5)
    assert (logits.shape, model.notes) == ((COUNT, WIDTH), ())


def test_classifiers_of_the_same_features_have_no_common_classes(tmp_path):
    g = Draft()
    g.features()
    g.save(tmp_path / "m.onnx", dense(g), dense(g))
    features, logits, model = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, FEATURES, atol=1e-5)
    assert logits is None
    assert model.notes == ("2 classifiers on the same features: no source probabilities",)


def test_classifiers_of_different_features_are_named(tmp_path):
    g = Draft()
    g.features()
    other = g("Gemm", g("Relu", g("Gemm", "f", MATRIX)), MATRIX.T.copy(), name="second")
    g.save(tmp_path / "m.onnx", g("Gemm", "f", MATRIX, name="first"), other)
    features, _, model = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, FEATURES, atol=1e-5)
    assert model.notes == (
        "several classifiers: the features are those of output 'first', not of ['second']",
    )


def test_of_outputs_without_a_classifier_the_first_is_taken(tmp_path):
    g = Draft()
    g.features()
    g.save(tmp_path / "m.onnx", "maps", "averages")
    features, _, model = outputs_of(tmp_path / "m.onnx")
    np.testing.assert_allclose(features, FEATURES, atol=1e-5)
    assert "its output 'maps', of ['maps', 'averages']" in model.notes[0]
