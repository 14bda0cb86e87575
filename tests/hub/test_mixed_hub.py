"""What people have: a hub of every kind of model, a corrupt image, a model that fails."""

import json

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from small_models import (
    PREPROCESSING,
    Small,
    export_onnx,
    export_program,
    keras_model,
    torch_hub_repository,
    vision_transformer,
)
from typer.testing import CliRunner

from hubfast import Ranking
from hubfast.cli import app

METRICS = ("logme", "regularized_h_score", "leep", "nce", "knn", "parameters")
HUB = """
models:
  - minihub:resnet_digits
  - timm:test_resnet@checkpoint.safetensors
  - model: hf:vit
    licence: MIT
  - onnx:small.onnx
  - export:small.pt2
  - keras:small.keras
  - torchhub:repository/small
  - {model: features.parquet, note: computed last year}
  - timm:no_such_model
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the hub, and 40 pictures of two classes, one of them broken."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hub.yaml").write_text(HUB)
    rng = np.random.default_rng(0)
    for i in range(40):
        folder = tmp_path / "photos" / ("dark", "light")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shades = rng.integers(0, 200, (20, 20, 3)) + 50 * (i % 2)
        Image.fromarray(shades.astype(np.uint8)).save(folder / f"{i:02}.png")
    broken = tmp_path / "photos" / "light" / "07.png"
    broken.write_bytes(broken.read_bytes()[:200])
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "checkpoint.safetensors")
    vision_transformer(tmp_path / "vit")
    export_onnx(Small(), tmp_path / "small.onnx", preprocessing=json.dumps(PREPROCESSING))
    export_program(Small(torch.nn.Softmax(1)), tmp_path / "small.pt2")
    keras_model(tmp_path / "small.keras")
    torch_hub_repository(tmp_path / "repository", 1.0)
    features = pd.DataFrame(rng.normal(size=(40, 3)), columns=list("abc"))
    features.to_parquet(tmp_path / "features.parquet")
    return tmp_path


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_one_command_ranks_it_all(place):
    metrics = [word for metric in METRICS for word in ("--metric", metric)]
    outputs = ["--html", "page.html", "--json", "ranking.json", "--quiet", "--trust"]
    command = ["rank", "hub.yaml", "--data", "photos", *metrics, *outputs]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    ranking = Ranking.from_json("ranking.json")
    assert ranking.samples == 39
    assert "1 of 40 samples cannot be read" in ranking.notes[0]
    assert "07.png" in ranking.notes[0]
    (failed,) = ranking.failed
    assert "timm has no model 'no_such_model'" in failed.error
    assert len(ranking.scored) == 8
    rows = {m.name: m for m in ranking.scored}
    assert rows["hf:vit"].licence == "MIT"
    for name, row in rows.items():
        lacking = {metric for metric, found in row.scores.items() if found.error}
        stored = name == "features"
        assert lacking == ({"leep", "nce", "parameters"} if stored else set()), row
    page = (place / "page.html").read_text().replace("<wbr>", "")
    for text in ("07.png", "no_such_model", "computed last year", "Licence: MIT"):
        assert text in page


def test_what_is_not_trusted_is_a_row_that_says_so(place):
    command = ["rank", "hub.yaml", "--data", "photos", "--json", "ranking.json", "--quiet"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    errors = {m.name: m.error for m in Ranking.from_json("ranking.json").failed}
    assert set(errors) == {
        "export:small.pt2",
        "torchhub:repository/small",
        "timm:no_such_model",
    }
    for name in ("export:small.pt2", "torchhub:repository/small"):
        assert "--trust" in errors[name]
