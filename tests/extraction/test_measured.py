"""What was measured on a GPU decides how models run there."""

import json

import pytest
import torch

from hubfast.extraction import measured
from hubfast.hub.model import Extraction
from hubfast.nn.inference import BATCH_ON_CPU, BATCH_ON_GPU
from hubfast.ops import choices as module
from hubfast.ops.choices import file_name


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """Writes the file of a GPU that this machine pretends to have."""
    name = f"GPU of {tmp_path.name}"
    monkeypatch.setattr(module, "_name", lambda index: name)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setenv("HUBFAST_MEASURED", str(tmp_path))

    def write(**table):
        content = {"gpu": name, "tables": {"inference": table}}
        (tmp_path / file_name(name)).write_text(json.dumps(content))

    return write


def test_the_measured_batch_size_is_the_usual_one(gpu):
    gpu(batch_size=256)
    assert measured.usual_batch_size("cuda") == 256
    assert measured.usual_batch_size("cpu") == BATCH_ON_CPU


def test_without_a_measurement_there_is_a_rule(gpu):
    assert measured.usual_batch_size("cuda:0") == BATCH_ON_GPU
    assert measured.channels_last_wins(Extraction(device="cuda:0"))


def test_channels_last_goes_by_precision(gpu):
    gpu(channels_last_float32=False, channels_last_bfloat16=True)
    assert not measured.channels_last_wins(Extraction(device="cuda", precision="fp32"))
    assert measured.channels_last_wins(Extraction(device="cuda", precision="bf16"))
    assert measured.channels_last_wins(Extraction(device="cpu"))
