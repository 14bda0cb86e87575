"""Hub files, in YAML and TOML."""

import pytest
from small_models import Small, export_onnx, torch_hub_repository
from sources import COUNT, run

from hubfast import as_hub

pytestmark = pytest.mark.usefixtures("offline")


def test_hub_file(tmp_path, data, monkeypatch):
    export_onnx(Small(), tmp_path / "a.onnx")
    torch_hub_repository(tmp_path / "repo", 1.0)
    (tmp_path / "hub.yaml").write_text(
        """
models:
  - minihub:resnet_digits
  - model: onnx:a.onnx
    name: small
    note: exported on the spot
    licence: MIT
    imagenet: 70.5
    preprocessing: {input_size: 16, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
  - model: torchhub:repo/small
    arguments: {width: 3}
"""
    )
    (tmp_path / "hub.toml").write_text(
        """
[[models]]
model = "minihub:resnet_digits"
[[models]]
model = "onnx:a.onnx"
name = "small"
note = "exported on the spot"
license = "MIT"
imagenet = 70.5
preprocessing = {input_size = 16, mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5]}
[[models]]
model = "torchhub:repo/small"
arguments = {width = 3}
"""
    )
    for file in (tmp_path / "hub.yaml", str(tmp_path / "hub.toml"), tmp_path):
        digits, small, repo = as_hub(file, trust=True)
        assert digits.name == "resnet_digits"
        assert (small.name, small.note, small.licence) == ("small", "exported on the spot", "MIT")
        assert (digits.imagenet, small.imagenet) == (None, 70.5)
        assert repo.name == "torchhub:repo/small"
        assert run(small, data)[0].shape == (COUNT, 6)
        assert run(repo, data)[0].shape == (COUNT, 3)
        with pytest.raises(PermissionError):
            as_hub(file)[2].load()


def test_bad_hub_files_are_named(tmp_path):
    def read(text, suffix="yaml"):
        file = tmp_path / f"h.{suffix}"
        file.write_text(text)
        return as_hub(file)

    with pytest.raises(FileNotFoundError, match=r"hub file not found"):
        as_hub("none.yaml")
    with pytest.raises(ValueError, match=r"must hold a list 'models', got NoneType"):
        read("modells: []")
    with pytest.raises(ValueError, match=r"model 2 of .*h.yaml must be a spec or a table"):
        read("models: [minihub:resnet_digits, {name: x}]")
    with pytest.raises(ValueError, match=r"may have the keys .*got \['trust'\]"):
        read("models: [{model: minihub:resnet_digits, trust: true}]")
    with pytest.raises(ValueError, match=r"preprocessing of model 1 .* must be a table, got 3"):
        read("models: [{model: minihub:resnet_digits, preprocessing: 3}]")
    for wrong in ("much", "true", "0.804.1", "-1", "101"):
        with pytest.raises(ValueError, match=r"imagenet of model 1 .* must be a percentage"):
            read(f"models: [{{model: minihub:resnet_digits, imagenet: {wrong}}}]")
    with pytest.raises(ValueError, match=r"cannot be read"):
        read("models: [", "toml")
    with pytest.raises(ValueError, match=r"cannot be read"):
        read("!!python/object/apply:os.system ['true']")
    with pytest.raises(ValueError, match=r"must hold models, not hub files"):
        read("models: [h.yaml]")
    with pytest.raises(ValueError, match=r"they cannot share one name"):
        read("models: [{model: minihub, name: x}]")
