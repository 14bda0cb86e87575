"""SavedModels of TensorFlow, each made on the spot."""

import pytest
import torch
from sources import close, prepared, run

from hubfast import as_source
from hubfast.hub.preprocessing import image_transform

pytestmark = pytest.mark.usefixtures("offline")


def test_saved_models_of_tensorflow(tmp_path, data):
    tensorflow = pytest.importorskip("tensorflow")

    class Module(tensorflow.Module):
        def __init__(self):
            self.w = tensorflow.Variable(tensorflow.random.normal((3, 4)))
            self.v = tensorflow.Variable(tensorflow.random.normal((4, 5)))

        @tensorflow.function(
            input_signature=[tensorflow.TensorSpec((None, 16, 16, 3), tensorflow.float32)]
        )
        def __call__(self, images):
            features = tensorflow.reduce_mean(images, (1, 2)) @ self.w
            return {"features": features, "logits": features @ self.v}

    module = Module()
    tensorflow.saved_model.save(module, str(tmp_path / "saved"))
    with pytest.raises(PermissionError, match=r"TensorFlow graph.*trust=True"):
        as_source(f"tfhub:{tmp_path / 'saved'}").load()
    source = as_source(f"tfhub:{tmp_path / 'saved'}", trust=True)
    features, logits, parameters = run(source, data)
    unit = image_transform({"input_size": 16, "mean": [0.0] * 3, "std": [1.0] * 3})
    mean = prepared(data, unit).mean((2, 3))
    close(features, mean @ torch.from_numpy(module.w.numpy()))
    close(logits, features @ torch.from_numpy(module.v.numpy()))
    assert parameters == 12 + 20


def test_tensorflow_faults_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no saved_model.pb"):
        as_source(f"tfhub:{tmp_path}", trust=True).load()
