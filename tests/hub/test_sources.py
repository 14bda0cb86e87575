"""What sources of several kinds share."""

import sys

import numpy as np
import pytest
import timm
from sources import COUNT, run

from hubfast import as_source

pytestmark = pytest.mark.usefixtures("offline")


@pytest.mark.parametrize(
    ("spec", "module", "extra"),
    [
        ("hf:some/model", "transformers", "transformers"),
        ("onnx:a.onnx", "onnx", "onnx"),
        ("onnx:a.onnx", "onnxruntime", "onnx"),
        ("keras:a.keras", "keras", "keras"),
        ("a.parquet", "pyarrow", "data"),
        ("tfhub:saved", "tensorflow", "tensorflow"),
    ],
)
def test_a_missing_package_names_its_extra(tmp_path, monkeypatch, spec, module, extra):
    (tmp_path / "saved").mkdir()
    for name in ("a.onnx", "a.keras", "a.parquet", "saved/saved_model.pb"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    advice = rf"needs {module}: pip install 'hubfast\[{extra}\]'"
    with pytest.raises(ModuleNotFoundError, match=advice):
        as_source(spec, trust=True).load()


def test_text_and_images_are_not_mixed_up(tmp_path, data, texts):
    model = timm.create_model("test_resnet", pretrained=False)
    with pytest.raises(TypeError, match=r"this model reads images, the data gives text"):
        run(as_source(model), texts)
    features, _, _ = run(as_source(lambda texts: np.array([[len(t)] for t in texts])), texts)
    assert features.flatten().tolist() == [len(texts[i]) for i in range(COUNT)]
