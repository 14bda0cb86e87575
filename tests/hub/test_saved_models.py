"""Features and logits of TensorFlow's SavedModels are told apart by structure."""

import numpy as np
import pytest
import torch

from hubfast import as_source, as_target_data
from hubfast.hub import Extraction

tensorflow = pytest.importorskip("tensorflow")

COUNT, SIDE, WIDTH, CLASSES = 5, 8, 6, 4
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)


class Saved(tensorflow.Module):
    """Features of means of channels, and an end."""

    def __init__(self, end):
        super().__init__()
        self.end = end
        self.w = tensorflow.Variable(tensorflow.random.normal((3, WIDTH), seed=0))
        self.v = tensorflow.Variable(tensorflow.random.normal((WIDTH, CLASSES), seed=1))
        self.b = tensorflow.Variable(tensorflow.random.normal((CLASSES,), seed=2))

    @tensorflow.function(
        input_signature=[tensorflow.TensorSpec((None, SIDE, SIDE, 3), tensorflow.float32)]
    )
    def __call__(self, images):
        maps = tensorflow.nn.relu(tensorflow.einsum("bhwc,cd->bhwd", images, self.w))
        return self.end(self, maps)


def average(maps):
    return tensorflow.reduce_mean(maps, (1, 2))


def logits(m, x):
    return tensorflow.nn.bias_add(tensorflow.matmul(average(x), m.v), m.b)


def pointwise(m, x):
    return tensorflow.nn.conv2d(x, m.v[None, None], 1, "SAME")


def run(path, module):
    tensorflow.saved_model.save(module, str(path))
    model = as_source(f"tfhub:{path}", trust=True).load()
    data = as_target_data((IMAGES, np.arange(COUNT) % 2))
    batches = list(model.batches(data, Extraction(batch_size=2, logits=True)))
    found = [b.logits for b in batches]
    features = torch.cat([b.features for b in batches]).numpy()
    return features, None if found[0] is None else torch.cat(found).numpy(), model.notes


def expected(module):
    return np.maximum(IMAGES / 255 @ module.w.numpy(), 0).mean((1, 2))


CLASSIFIERS = {
    "logits": (lambda m, x: {"output_0": logits(m, x)}, True),
    "softmax": (lambda m, x: {"output_0": tensorflow.nn.softmax(logits(m, x))}, True),
    "several": (lambda m, x: {"a": x, "b": tensorflow.nn.softmax(logits(m, x))}, True),
    "convolution": (
        lambda m, x: {"output_0": tensorflow.nn.softmax(average(pointwise(m, x)))},
        True,
    ),
    "sigmoid": (lambda m, x: {"output_0": tensorflow.nn.sigmoid(logits(m, x))}, False),
}


@pytest.mark.parametrize("end", CLASSIFIERS)
def test_what_enters_the_classifier_is_the_features(tmp_path, end):
    build, has_logits = CLASSIFIERS[end]
    module = Saved(build)
    features, found, notes = run(tmp_path / "m", module)
    np.testing.assert_allclose(features, expected(module), atol=1e-5)
    assert (found is not None, notes) == (has_logits, ())
    if end == "softmax":
        by_hand = features @ module.v.numpy() + module.b.numpy()
        np.testing.assert_allclose(found, by_hand, atol=1e-5)


@pytest.mark.parametrize("end", [lambda m, x: {"y": average(x)}, lambda m, x: {"y": x}])
def test_without_a_classifier_the_output_is_the_features_and_the_row_says_so(tmp_path, end):
    module = Saved(end)
    features, found, notes = run(tmp_path / "m", module)
    np.testing.assert_allclose(features, expected(module), atol=1e-5)
    assert found is None
    assert notes[0].startswith("no classifier seen in the file: the features are its output 'y'")


def test_classes_whose_layer_is_not_found_do_not_pass_for_features(tmp_path):
    module = Saved(lambda m, x: {"y": tensorflow.nn.softmax(average(x) * average(x))})
    with pytest.raises(ValueError, match=r"'y' of .* is classes, and the linear layer"):
        run(tmp_path / "m", module)
