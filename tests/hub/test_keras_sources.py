"""Keras files, each made on the spot."""

import json

import numpy as np
import pytest
import torch
from small_models import PREPROCESSING, keras_model
from sources import COUNT, close, prepared, run

from hubfast import as_source
from hubfast.hub.preprocessing import image_transform

pytestmark = pytest.mark.usefixtures("offline")


@pytest.mark.parametrize("end", ["softmax", None, "sigmoid"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_keras(tmp_path, data, end, suffix):
    source = as_source(f"keras:{tmp_path / f'small{suffix}'}")
    with pytest.raises(FileNotFoundError, match=r"Keras model not found"):
        source.load()
    model = keras_model(tmp_path / f"small{suffix}", end=end)
    features, logits, parameters = run(source, data)
    pixels = image_transform({"input_size": 16, "mean": [0.0] * 3, "std": [1 / 255] * 3})
    x = prepared(data, pixels).permute(0, 2, 3, 1).numpy()
    assert x.max() > 100
    with torch.no_grad():
        for layer in model.layers[:-1]:
            x = layer(x)
        inside = torch.from_numpy(np.array(x))
        close(features, inside)
        kernel, bias = model.layers[-1].get_weights()
        by_hand = inside @ torch.from_numpy(kernel) + torch.from_numpy(bias)
    if end == "sigmoid":
        assert logits is None
    else:
        close(logits.log_softmax(1), by_hand.log_softmax(1))
    assert parameters == model.count_params()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_that_does_not_prepare_its_pixels_is_asked(tmp_path, data):
    keras_model(tmp_path / "bare.keras", rescaling=False)
    with pytest.raises(TypeError, match=r"no preprocessing of its own.*bare.json"):
        run(as_source(tmp_path / "bare.keras"), data)
    (tmp_path / "bare.json").write_text(json.dumps(PREPROCESSING))
    assert run(as_source(tmp_path / "bare.keras"), data)[0].shape == (COUNT, 6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_lambdas_need_trust(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match=r"[Ll]ambda|safe_mode"):
        as_source(tmp_path / "lambda.keras").load()
    assert as_source(tmp_path / "lambda.keras", trust=True).load().parameters == 0
