"""Where a file's preprocessing is found, and what it does to images."""

import json

import pytest

from hubfast.hub.preprocessing import image_transform, transform_of_file

pytestmark = pytest.mark.usefixtures("offline")


def test_preprocessing_in_all_its_places(tmp_path, data):
    path = tmp_path / "m.onnx"
    image = data[0]
    assert transform_of_file(path) is None

    def mean_of(**places):
        return float(transform_of_file(path, **places)(image).mean())

    shift = {"input_size": 16, "std": [1.0] * 3}
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "ViTImageProcessor", "do_normalize": False})
    )
    assert 0 < mean_of() < 1
    timms = {"pretrained_cfg": {**shift, "mean": [4.0] * 3, "url": "x"}}
    (tmp_path / "config.json").write_text(json.dumps(timms))
    assert -4 < mean_of() < -3
    (tmp_path / "m.json").write_text(json.dumps({**shift, "mean": [3.0] * 3}))
    assert -3 < mean_of() < -2
    own = {**shift, "mean": [2.0] * 3}
    assert -2 < mean_of(own=own) < -1
    assert -1 < mean_of(own=own, given={**shift, "mean": [1.0] * 3}) < 0


def test_bad_preprocessing_is_named():
    with pytest.raises(ValueError, match=r"got unknown \['sizes'\], missing \['input_size'"):
        image_transform({"sizes": 3})


def test_preprocessing_keeps_the_whole_image_unless_told_otherwise():
    from PIL import Image

    config = {"mean": [0.0] * 3, "std": [1.0] * 3}
    image = Image.new("RGB", (32, 32))
    image.paste((255, 255, 255), (0, 0, 2, 32))  # a white edge
    whole = image_transform({**config, "input_size": (3, 16, 16)})(image)
    assert whole.shape == (3, 16, 16)
    assert float(whole[:, :, 0].mean()) > 0.8
    assert float(image_transform({**config, "crop_pct": 0.5}, (16, 16))(image).max()) < 0.1
