"""Features and logits of Keras models are told apart by structure."""

import warnings

import keras
import numpy as np
import pytest
import torch

from hubfast import as_source, as_target_data, rank
from hubfast.hub import Extraction

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `keras.initializers.serialize"),
]
L = keras.layers
COUNT, SIDE, WIDTH, CLASSES = 4, 8, 6, 5
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)


def run(path, images=PIXELS):
    model = as_source(f"keras:{path}").load()
    data = as_target_data((images, np.arange(len(images)) % 2))
    batches = list(model.batches(data, Extraction(batch_size=3, logits=True)))
    logits = [b.logits for b in batches]
    features = torch.cat([b.features for b in batches]).detach().numpy()
    return features, None if logits[0] is None else torch.cat(logits).detach().numpy(), model


def save(path, *, end, side=SIDE):
    """A model of maps (2, 2, 6), and an end; and what gives these maps."""
    images = keras.Input((side, side, 3))
    maps = L.Conv2D(WIDTH, 4, strides=4, activation="relu")(L.Rescaling(1 / 255)(images))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        keras.Model(images, end(maps)).save(path)
    return keras.Model(images, maps)


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def average(maps, **options):
    return L.GlobalAveragePooling2D(**options)(maps)


def nested(maps):
    """A classifier in a model in a model."""
    given = keras.Input(maps.shape[1:])
    inner = keras.Model(given, L.Dense(CLASSES, activation="softmax")(average(given)))
    return keras.Sequential([L.Dropout(0.5), keras.Sequential([inner])])(maps)


def attention(maps):
    tokens = L.Reshape((4, WIDTH))(maps)
    return average_tokens(L.Dense(CLASSES)(tokens))


def average_tokens(tokens):
    return L.Softmax()(L.GlobalAveragePooling1D()(tokens))


CLASSIFIERS = {
    "dense": lambda x: L.Dense(CLASSES)(average(x)),
    "dense_softmax": lambda x: L.Dense(CLASSES, activation="softmax")(average(x)),
    "activation": lambda x: L.Activation("softmax")(L.Dense(CLASSES)(average(x))),
    "softmax": lambda x: L.Softmax()(L.Dropout(0.5)(L.Dense(CLASSES)(average(x)))),
    "operation": lambda x: keras.ops.softmax(L.Dense(CLASSES)(average(x)) / 2.0),
    "reshape": lambda x: L.Reshape((CLASSES, 1))(L.Dense(CLASSES)(average(x))),
    "convolution": lambda x: L.Flatten()(L.Conv2D(CLASSES, 1)(average(x, keepdims=True))),
    "convolution_averaged": lambda x: L.Activation("softmax")(average(L.Conv2D(CLASSES, 1)(x))),
    "activation_averaged": lambda x: L.Softmax()(average(L.ReLU()(L.Conv2D(CLASSES, 1)(x)))),
    "tokens": attention,
    "nested": nested,
    "list": lambda x: [x, L.Dense(CLASSES)(average(x))],
    "dict": lambda x: {"maps": x, "classes": L.Dense(CLASSES)(average(x))},
}


@pytest.mark.parametrize("end", CLASSIFIERS)
def test_what_enters_the_classifier_is_the_features(tmp_path, end):
    maps = save(tmp_path / "m.keras", end=CLASSIFIERS[end])
    features, logits, model = run(tmp_path / "m.keras")
    np.testing.assert_allclose(features, array(maps(PIXELS)).mean((1, 2)), atol=1e-5)
    assert logits.shape == (COUNT, CLASSES)
    assert model.notes == ()
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("within", [True, False])
def test_logits_are_those_before_the_softmax(tmp_path, within):
    """Also where the values alone could not tell: logits that are in 0..1."""
    layers = [L.Dense(CLASSES, activation="softmax" if within else None, name="classes")]
    layers += [] if within else [L.Activation("softmax")]
    save(tmp_path / "m.keras", end=lambda x: keras.Sequential(layers)(average(x)))
    kernel, bias = (array(weight) for weight in layers[0].weights)
    features, logits, _ = run(tmp_path / "m.keras")
    expected = torch.from_numpy(features @ kernel + bias)
    found = torch.from_numpy(logits)
    torch.testing.assert_close(found.log_softmax(1), expected.log_softmax(1), atol=1e-5, rtol=1e-4)
    assert within or np.allclose(logits, expected, atol=1e-5)


NO_LOGITS = {
    "sigmoid": lambda x: L.Dense(CLASSES, activation="sigmoid")(average(x)),
    "one_class": lambda x: L.Dense(1, activation="sigmoid")(average(x)),
    "segmentation": lambda x: L.UpSampling2D()(L.Conv2D(CLASSES, 1, activation="softmax")(x)),
    "detector": lambda x: L.Conv2DTranspose(1, 2, strides=2, activation="sigmoid")(x),
}


@pytest.mark.parametrize("end", NO_LOGITS)
def test_classifiers_without_classes_that_exclude_each_other(tmp_path, end):
    maps = save(tmp_path / "m.keras", end=NO_LOGITS[end])
    features, logits, _ = run(tmp_path / "m.keras")
    np.testing.assert_allclose(features, array(maps(PIXELS)).mean((1, 2)), atol=1e-5)
    assert logits is None


EMBEDDINGS = {
    "average": (average, lambda maps: maps.mean((1, 2))),
    "maximum": (lambda x: L.GlobalMaxPooling2D()(x), lambda maps: maps.max((1, 2))),
    "maps": (lambda x: x, lambda maps: maps.mean((1, 2))),
    "tokens": (lambda x: L.Reshape((4, WIDTH))(x), lambda maps: maps.mean((1, 2))),
    "flattened": (lambda x: L.Flatten()(x), lambda maps: maps.reshape(COUNT, -1)),
    "twice": (
        lambda x: L.Concatenate()([average(x), L.GlobalMaxPooling2D()(x)]),
        lambda maps: np.concatenate([maps.mean((1, 2)), maps.max((1, 2))], 1),
    ),
}


@pytest.mark.parametrize("end", EMBEDDINGS)
def test_without_a_classifier_the_output_is_the_features_and_the_row_says_so(tmp_path, end):
    build, expected = EMBEDDINGS[end]
    maps = save(tmp_path / "m.keras", end=build)
    found = rank(f"keras:{tmp_path}/m.keras", (PIXELS, np.arange(COUNT) % 2), progress=False)[0]
    assert found.note.startswith("no classifier seen in the file: the features are its output ")
    features, logits, _ = run(tmp_path / "m.keras")
    np.testing.assert_allclose(features, expected(array(maps(PIXELS))), atol=1e-5)
    assert logits is None


def test_a_dense_layer_with_an_activation_is_no_classifier(tmp_path):
    save(tmp_path / "m.keras", end=lambda x: L.Dense(3, activation="relu")(average(x)))
    features, _, model = run(tmp_path / "m.keras")
    assert features.shape == (COUNT, 3)
    assert model.notes


def test_classes_whose_layer_is_not_found_do_not_pass_for_features(tmp_path):
    def end(x):
        return L.Softmax()(L.Add()([L.Dense(CLASSES)(average(x)), L.Dense(CLASSES)(average(x))]))

    save(tmp_path / "m.keras", end=end)
    with pytest.raises(ValueError, match=r"'softmax.*' of .*m.keras is classes, and the linear"):
        run(tmp_path / "m.keras")


@keras.saving.register_keras_serializable("hubfast_tests")
class Subclass(keras.Model):
    """A model whose layers are called by code, of real images only if `strange`."""

    def __init__(self, strange=False, **options):
        super().__init__(**options)
        self.strange, self.scale = strange, L.Rescaling(1 / 255)
        self.body, self.fc = L.Conv2D(WIDTH, 4), L.Dense(CLASSES)

    def call(self, images):
        maps = self.body(self.scale(images))
        if self.strange:
            return self.fc(array(maps).mean((1, 2)))
        return self.fc(keras.ops.mean(maps, (1, 2)))

    def get_config(self):
        return {**super().get_config(), "strange": self.strange}


def test_the_layers_of_a_subclass_are_followed(tmp_path):
    model = Subclass()
    model(np.zeros((1, SIDE, SIDE, 3), np.float32))
    model.save(tmp_path / "m.keras")
    features, logits, loaded = run(tmp_path / "m.keras")
    expected = array(model.body(PIXELS / np.float32(255))).mean((1, 2))
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert logits.shape == (COUNT, CLASSES)
    assert (loaded.parameters, loaded.notes) == (model.count_params(), ())


def test_layers_that_cannot_be_followed_are_refused(tmp_path):
    model = Subclass(strange=True)
    with torch.no_grad():
        model(np.zeros((1, SIDE, SIDE, 3), np.float32))
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"cannot be followed .* save it as a functional model"):
        run(tmp_path / "m.keras")


def test_channels_first(tmp_path):
    """As the layers say, whatever Keras is configured for."""
    images = keras.Input((3, SIDE, SIDE))
    first = {"data_format": "channels_first"}
    maps = L.Conv2D(WIDTH, 4, **first)(L.Rescaling(1 / 255)(images))
    keras.Model(images, maps).save(tmp_path / "maps.keras")
    classes = average(L.Conv2D(CLASSES, 1, activation="softmax", **first)(maps), **first)
    keras.Model(images, classes).save(tmp_path / "classes.keras")
    expected = array(keras.Model(images, maps)(PIXELS.transpose(0, 3, 1, 2))).mean((2, 3))
    for name in ("maps", "classes"):
        np.testing.assert_allclose(run(tmp_path / f"{name}.keras")[0], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(SIDE, SIDE, 1), (SIDE, SIDE, 4), (12,), (2, SIDE, SIDE, 3)])
def test_other_inputs_are_refused_with_their_shapes(tmp_path, shape):
    images = keras.Input(shape)
    keras.Model(images, L.Flatten()(images)).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"\(batch, height, width, 3\), got .*None, "):
        run(tmp_path / "m.keras")
