"""ONNX files and programs of torch.export: the same small model in files of two kinds."""

import json

import pytest
import torch
from small_models import PREPROCESSING, Small, export_onnx, export_program
from sources import COUNT, close, prepared, run
from torch import nn

from hubfast import as_source, as_target_data
from hubfast.hub.preprocessing import image_transform

pytestmark = pytest.mark.usefixtures("offline")


@pytest.mark.parametrize("end", [None, nn.Softmax(1), nn.Sigmoid()], ids=str)
@pytest.mark.parametrize("batch", [None, 2])
def test_onnx(tmp_path, data, end, batch):
    model, path = Small(end).eval(), tmp_path / "small.onnx"
    export_onnx(model, path, batch=batch, preprocessing=json.dumps(PREPROCESSING))
    features, logits, parameters = run(as_source(path), data)
    with torch.no_grad():
        inside = model.body(prepared(data, image_transform(PREPROCESSING)))
        close(features, inside)
        if isinstance(end, nn.Sigmoid):
            assert logits is None
        else:
            close(logits, model.fc(inside))
    assert parameters >= sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("end", [None, nn.Softmax(1), nn.Sigmoid()], ids=str)
@pytest.mark.parametrize("batch", [None, 2])
def test_export(tmp_path, data, end, batch):
    model, path = Small(end).eval(), tmp_path / "small.pt2"
    export_program(model, path, batch=batch)
    features, logits, parameters = run(as_source(f"export:{path}", trust=True), data)
    with torch.no_grad():
        inside = model.body(prepared(data, image_transform(PREPROCESSING)))
        close(features, inside)
        if isinstance(end, nn.Sigmoid):
            assert logits is None
        else:
            close(logits, model.fc(inside))
    assert parameters == sum(p.numel() for p in model.parameters())


def test_models_without_a_classifier_give_their_pooled_output(tmp_path, data):
    maps = Small().body[:2]
    export_onnx(maps, tmp_path / "maps.onnx", preprocessing=json.dumps(PREPROCESSING))
    export_program(maps, tmp_path / "maps.pt2")
    with torch.no_grad():
        expected = maps(prepared(data, image_transform(PREPROCESSING))).mean((2, 3))
    for name in ("maps.onnx", "maps.pt2"):
        features, logits, _ = run(as_source(tmp_path / name, trust=True), data)
        close(features, expected)
        assert logits is None


def test_weights_beside_an_onnx_file_are_found(tmp_path, data, monkeypatch):
    model = Small()
    model.body[0] = nn.Conv2d(3, 64, 5)  # small tensors stay in the file
    model.fc = nn.Linear(64, 5)
    (tmp_path / "out").mkdir()
    notes = {"preprocessing": json.dumps(PREPROCESSING)}
    export_onnx(model, tmp_path / "a.onnx", **notes)
    export_onnx(model, tmp_path / "out" / "b.onnx", beside=True, **notes)
    assert (tmp_path / "out" / "b.onnx.data").stat().st_size > 4 * 64 * 75
    monkeypatch.chdir(tmp_path)
    found = run(as_source("onnx:out/b.onnx"), data)
    torch.testing.assert_close(found, run(as_source("a.onnx"), data))


def test_float_tensors_need_no_preprocessing(tmp_path):
    model = Small()
    export_onnx(model, tmp_path / "a.onnx")
    tensors = torch.rand(4, 3, 16, 16)
    features, _, _ = run(
        as_source(tmp_path / "a.onnx"), as_target_data((tensors, torch.arange(4) % 2))
    )
    with torch.no_grad():
        close(features, model.body(tensors))


def test_unknown_preprocessing_is_not_guessed(tmp_path, data):
    export_onnx(Small(), tmp_path / "a.onnx")
    with pytest.raises(TypeError, match=r"no preprocessing of its own.*hub file, or a file a.json"):
        run(as_source(tmp_path / "a.onnx"), data)
    (tmp_path / "a.json").write_text(json.dumps(PREPROCESSING))
    assert run(as_source(tmp_path / "a.onnx"), data)[0].shape == (COUNT, 6)


def test_bad_onnx_and_export_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ONNX file not found: .*none"):
        as_source("onnx:none.onnx").load()
    with pytest.raises(FileNotFoundError, match=r"exported program not found"):
        as_source("none.pt2").load()
    export_program(Small(), tmp_path / "a.pt2")
    with pytest.raises(PermissionError, match=r"can run code from it: say trust=True \(--trust\)"):
        as_source(tmp_path / "a.pt2").load()
    program = torch.export.export(nn.Linear(3, 2), (torch.rand(1, 3),))
    torch.export.save(program, tmp_path / "flat.pt2")
    with pytest.raises(ValueError, match=r"must take one input of images \(batch, 3"):
        as_source(tmp_path / "flat.pt2", trust=True).load()
