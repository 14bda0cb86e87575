"""Queries of timm's models and of files."""

import numpy as np
import pytest
import timm

from hubfast import as_hub

pytestmark = pytest.mark.usefixtures("offline")


def test_queries(tmp_path, monkeypatch):
    names = [s.name for s in as_hub("timm:test_*?params<500K&input_size<=160")]
    assert names
    for name in names:
        architecture = name.removeprefix("timm:").partition(".")[0]
        count = sum(p.numel() for p in timm.create_model(architecture).parameters())
        assert count < 500_000
    every = {s.name for s in as_hub("timm:test_*")}
    assert set(names) < every
    left = {s.name for s in as_hub("timm:test_*?parameters >= 0.5M, input_size <= 160")}
    assert left == every - set(names)
    licences = {s.licence for s in as_hub("timm:test_*?licence=apache-2.0")}
    assert licences == {"apache-2.0"}
    for name in "ba":
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 2)))
    assert [s.name for s in as_hub(str(tmp_path / "*.npy"))] == ["a", "b"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.onnx").write_text("")
    assert [s.name for s in as_hub("onnx:*.onnx")] == ["onnx:x.onnx"]


def test_bad_queries_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no pretrained timm model matches 'nothing\*'"):
        as_hub("timm:nothing*")
    with pytest.raises(ValueError, match=r"conditions must be like params<30M.*'size<3'"):
        as_hub("timm:test_*?size<3")
    with pytest.raises(ValueError, match=r"conditions must be like .*'params<many'"):
        as_hub("timm:test_*?params<many")
    with pytest.raises(ValueError, match=r"no file matches"):
        as_hub(f"onnx:{tmp_path}/*.onnx")
