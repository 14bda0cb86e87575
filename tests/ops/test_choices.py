"""Choices that were measured on a GPU, by its name."""

import json

import pytest

from hubfast.ops import choices as module
from hubfast.ops.choices import choices, file_name, of_gpu


def test_a_gpus_file_is_found_by_its_name(tmp_path):
    name = "NVIDIA H100 80GB HBM3"
    path = tmp_path / "nvidia_h100_80gb_hbm3.json"
    path.write_text(json.dumps({"gpu": name, "tables": {"convolve": {"3x3": [128, 64]}}}))
    assert file_name(name) == path.name
    assert of_gpu(name, tmp_path)["convolve"] == {"3x3": [128, 64]}


def test_nothing_was_measured_on_a_cpu_or_an_unknown_gpu(tmp_path):
    assert choices("cpu", "convolve") == {}
    assert of_gpu("another", tmp_path) == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tables": [1]}', '{"tables": {"a": 1}}'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(ValueError, match=r"one\.json must hold tables of measured choices"):
        of_gpu("one", tmp_path)


def test_another_folder_is_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_name", lambda index: "Some GPU")
    (tmp_path / "some_gpu.json").write_text(json.dumps({"tables": {"plan": {"traffic": 10}}}))
    assert choices("cuda:0", "plan") == {}
    monkeypatch.setenv("HUBFAST_MEASURED", str(tmp_path))
    assert choices("cuda:0", "plan") == {"traffic": 10}
