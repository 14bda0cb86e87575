"""The models that come with hubfast, and what fine-tuning them gave."""

import json

import pytest
import torch

from hubfast import minihub
from hubfast.bench.demo import demo
from hubfast.minihub import files, fine_tuning, models
from hubfast.minihub.models import spec_of, train_model
from hubfast.utils.threads import one_torch_thread

DEMO = minihub.model_names()


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HUBFAST_CACHE", str(tmp_path))


def test_they_are_the_demos_and_small():
    found = sorted(minihub.shipped_dir().glob("*.safetensors"))
    assert [path.stem for path in found] == sorted(DEMO)
    assert sum(path.stat().st_size for path in minihub.shipped_dir().iterdir()) <= 10e6


@pytest.mark.parametrize("name", DEMO)
def test_a_file_is_of_the_recipe_that_stands_in_the_code(name):
    path = minihub.shipped_dir() / f"{name}.safetensors"
    described, weights = files.describe(path), files.read(path)
    assert described["hash"] == spec_of(name).hash
    assert described["digest"] == files.digest(weights)
    assert {w.dtype for w in weights.values() if w.ndim > 1} == {torch.float16}
    assert all(w.isfinite().all() for w in weights.values())
    assert minihub.is_shipped(name)
    loaded = minihub.load(name).state_dict()
    assert all(
        torch.equal(loaded[key], value.to(loaded[key].dtype)) for key, value in weights.items()
    )
    assert all(w.dtype == torch.float32 for w in loaded.values() if w.is_floating_point())


def test_the_quickest_to_train_is_what_its_recipe_gives(tmp_path):
    spec = spec_of("convnext_hasty")
    with one_torch_thread():
        train_model(spec)
    path = files.find(spec.name, spec.hash)
    assert path.parent != minihub.shipped_dir()  # the one that was trained here comes first
    shipped = files.read(minihub.shipped_dir() / path.name)
    # Another processor may round otherwise, and training carries that on.
    for key, value in files.read(path).items():
        torch.testing.assert_close(value.float(), shipped[key].float(), rtol=0.02, atol=0.02)
    path.unlink()
    assert minihub.is_shipped(spec.name)


def test_their_truth_is_known_for_every_target(monkeypatch):
    def fine_tune(*_):
        raise AssertionError("it must not be run again")

    monkeypatch.setattr(fine_tuning, "_fine_tune", fine_tune)
    runs = minihub.truth(minihub.target_names(), progress=False)
    assert {(run.model, run.target) for run in runs} == {
        (model, target) for model in DEMO for target in minihub.target_names()
    }
    assert all(run.shipped and run.value <= 1 for run in runs)
    with pytest.raises(AssertionError, match="run again"):
        minihub.truth(["handwritten"], seeds=2, progress=False)


def test_truth_belongs_to_the_weights_it_was_found_with():
    known = [
        json.loads(line)
        for line in (minihub.shipped_dir() / fine_tuning.TABLE).read_text().splitlines()
        if line
    ]
    digests = {json.loads(row["key"])[0] for row in known}
    assert digests == {models.digest_of(name) for name in DEMO}


def test_the_demo_needs_no_training(monkeypatch):
    for module, name in ((models, "train_model"), (fine_tuning, "_fine_tune")):
        monkeypatch.setattr(module, name, None)
    found = demo(progress=False)
    assert {m.name for m in found.ranking.scored} == {*DEMO}
    assert "All models come with hubfast" in found.how
    assert "when hubfast was released" in found.how


def test_rebuild_trains_what_is_shipped(monkeypatch):
    trained, tuned = [], []
    monkeypatch.setattr(models, "train_model", lambda spec, *_: trained.append(spec.name))
    monkeypatch.setattr(fine_tuning, "_fine_tune", lambda m, t, s: tuned.append(m) or KNOWN)
    demo(rebuild=True, progress=False)
    assert sorted(trained) == sorted(tuned) == sorted(DEMO)


KNOWN = minihub.Truth("any", "handwritten", 0, "accuracy", 0.5, 1e-3, 1.0)
