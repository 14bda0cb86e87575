"""Preprocessing inside a Keras model counts if it comes first, for the pixels it was made for."""

import keras
import numpy as np
import pytest
import torch

from hubfast import as_source, as_target_data
from hubfast.hub import Extraction
from hubfast.hub.keras.pixels import top_of_affine, top_of_statistics

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
L = keras.layers
COUNT, SIDE = 6, 8
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)


def means(path, prepare, shape=(SIDE, SIDE, 3), dtype="float32"):
    """Means of channels behind what a model does to its images."""
    images = keras.Input(shape, dtype=dtype)
    keras.Model(images, L.GlobalAveragePooling2D()(prepare(images))).save(path)
    model = as_source(f"keras:{path}").load()
    data = as_target_data((PIXELS, np.arange(COUNT) % 2))
    return torch.cat([b.features for b in model.batches(data, Extraction())]).numpy()


def normalization(values):
    layer = L.Normalization()
    layer.adapt(values.astype(np.float32))
    return layer


def then(*layers):
    def prepare(x):
        for layer in layers:
            x = layer(x)
        return x

    return prepare


UNIT = PIXELS.mean((1, 2)) / 255
STANDARD = (PIXELS.mean((1, 2)) - PIXELS.mean((0, 1, 2))) / PIXELS.std((0, 1, 2))
CAFFE = PIXELS.mean((1, 2))[:, ::-1] - [103.939, 116.779, 123.68]

TOLD = {
    "rescaling": (L.Rescaling(1 / 255), UNIT),
    "around_zero": (L.Rescaling(1 / 127.5, offset=-1), 2 * UNIT - 1),
    "normalization_of_pixels": (normalization(PIXELS), STANDARD),
    "normalization_of_unit_pixels": (normalization(PIXELS / 255), STANDARD),
    "unit_pixels_to_around_zero": (L.Rescaling(2.0, offset=-1), 2 * UNIT - 1),
    "unit_pixels_to_all": (L.Rescaling(255.0), 255 * UNIT),
    "arithmetic": (lambda x: x / 127.5 - 1, 2 * UNIT - 1),
    "applications_torch": (keras.applications.densenet.preprocess_input, None),
    "applications_caffe": (keras.applications.resnet50.preprocess_input, CAFFE),
    "behind_augmentation": (
        then(L.RandomFlip(), L.RandomRotation(0.1), L.Dropout(0.1), L.Rescaling(1 / 255)),
        UNIT,
    ),
    "within_a_model": (
        keras.Sequential([keras.Sequential([L.RandomFlip(), L.Rescaling(1 / 255)])]),
        UNIT,
    ),
    "first_of_several": (then(L.Rescaling(1 / 255), L.Normalization(mean=0.0, variance=1.0)), UNIT),
}


@pytest.mark.parametrize("first", TOLD)
def test_pixels_have_the_range_that_the_first_layer_was_made_for(tmp_path, first):
    prepare, expected = TOLD[first]
    found = means(tmp_path / "m.keras", prepare)
    if expected is None:
        expected = (UNIT - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(found, expected, atol=1e-3)


NOT_TOLD = {
    "nothing": lambda x: x,
    "behind_a_convolution": then(L.Conv2D(3, 1), L.Rescaling(1 / 255)),
    "behind_a_batch_normalization": then(L.BatchNormalization(), L.Rescaling(1 / 255)),
    "on_one_of_two_paths": lambda x: L.Add()([L.Rescaling(1 / 255)(x), L.Conv2D(3, 1)(x)]),
    "never_adapted": L.Normalization(mean=0.0, variance=1.0),
    "around_zero": L.Normalization(mean=-0.1, variance=0.3),
    "of_no_known_range": L.Rescaling(1e-5),
}


@pytest.mark.parametrize("first", NOT_TOLD)
def test_where_the_range_is_not_told_it_is_asked_for(tmp_path, first):
    with pytest.raises(
        TypeError, match=r"no preprocessing of its own; give it one: preproc"
    ) as said:
        means(tmp_path / "m.keras", NOT_TOLD[first])
    named = {
        "never_adapted": "its Normalization (mean 0 and variance 1) does not tell whether",
        "of_no_known_range": "its Rescaling (scale 1e-05, offset 0.0) does not tell whether",
    }
    assert named.get(first, "m.json beside it") in str(said.value)


def test_a_model_that_resizes_gets_images_of_that_size(tmp_path):
    prepare = then(L.Resizing(4, 6), L.Rescaling(1 / 255))
    found = means(tmp_path / "m.keras", prepare, (None, None, 3))
    np.testing.assert_allclose(found, UNIT, atol=0.05)


def test_whole_numbers_are_pixels(tmp_path):
    found = means(tmp_path / "m.keras", lambda x: keras.ops.cast(x, "float32"), dtype="uint8")
    np.testing.assert_allclose(found, 255 * UNIT, atol=1e-3)


@pytest.mark.parametrize(
    ("scale", "offset", "top"),
    [
        (1 / 255, 0, 255),
        (1 / 128, -1, 255),
        ([0.017, 0.0175, 0.0174], [-2.1, -2, -1.8], 255),
        (1, [-123.7, -116.8, -103.9], 255),
        (1, [-0.485, -0.456, -0.406], 1),
        (4.4, -2, 1),
        (1, 0, None),
        ([1 / 255, 1, 1], 0, None),
    ],
)
def test_ranges_of_scales(scale, offset, top):
    assert top_of_affine(scale, offset) == top


@pytest.mark.parametrize(
    ("mean", "variance", "top"),
    [
        (0.4, 0.07, 1),
        ([0.485, 0.456, 0.406], [0.052, 0.05, 0.051], 1),
        (120, 4000, 255),
        (33.3, 6172, 255),  # MNIST
        (0.13, 0.095, 1),
        (0, 1, None),
        (-0.1, 0.3, None),
        ([0.4, 120, 120], [0.07, 4000, 4000], None),
    ],
)
def test_ranges_of_statistics(mean, variance, top):
    assert top_of_statistics(mean, variance) == top
