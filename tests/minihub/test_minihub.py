import dataclasses
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from hubfast import minihub
from hubfast.bench.demo import demo
from hubfast.minihub import fine_tuning, models, tasks
from hubfast.minihub.models import spec_of, train_model
from hubfast.utils.threads import one_torch_thread

TINY = dataclasses.replace(spec_of("convnext_hasty"), name="tiny", samples=64, epochs=1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HUBFAST_CACHE", str(tmp_path))
    monkeypatch.setattr(models, "MODELS", (TINY,))
    with one_torch_thread():  # two only wait for each other on tiny models and a busy machine
        yield tmp_path / "minihub"


@pytest.mark.parametrize("name", minihub.target_names())
def test_targets(name):
    target, again = minihub.load_target(name), minihub.load_target(name)
    for images in (target.images, target.test_images):
        assert images.shape[1:] == (32, 32, 3)
        assert images.dtype == np.uint8
        assert images.std() > 30
    assert np.array_equal(target.test_images, again.test_images)
    seen = {image.tobytes() for image in target.images}
    assert len(seen) == len(target.images)
    assert not seen & {image.tobytes() for image in target.test_images}
    if target.class_names is None:
        assert 0 <= target.targets.min() < target.targets.max() <= 90
    else:
        counts = np.bincount(target.targets)
        assert len(counts) == len(target.class_names)
        assert counts.min() >= counts.max() - 1


def test_target_digits_are_no_source_digits():
    data = load_digits()
    cut = tasks.DIGITS_FOR_SOURCES
    used = {x.tobytes() for x in data.images[:cut]}
    others = [x.tobytes() in used for x in data.images[cut:]]
    assert sum(others) == 0


@pytest.mark.parametrize("name", tasks.SOURCES)
def test_sources(name):
    images, labels, classes = tasks.source_images(name, 40, seed=3)
    again, _, _ = tasks.source_images(name, 40, seed=3)
    assert images.shape == (40, 32, 32, 3)
    assert np.array_equal(images, again)
    assert 0 <= labels.min() <= labels.max() < classes


def test_specs_are_as_promised():
    demo = [spec for spec in minihub.MODELS if spec.in_demo]
    assert len(demo) >= 8
    assert len({spec.architecture for spec in demo}) >= 4
    resnets = {spec.source for spec in demo if spec.architecture == "resnet10t"}
    assert len(resnets) >= 4
    assert len({spec.name for spec in minihub.MODELS}) == len(minihub.MODELS)
    assert any(spec.kind == "regression" for spec in minihub.TARGETS)


def test_build_is_deterministic_and_resumes(cache):
    minihub.build(progress=False)
    file = cache / "tiny.safetensors"
    first, built = load_file(file), file.stat().st_mtime_ns
    minihub.build(progress=False)
    assert file.stat().st_mtime_ns == built
    file.unlink()
    minihub.build(progress=False)
    second = load_file(file)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert [p.name for p in cache.iterdir()] == ["tiny.safetensors"]


def test_outdated_and_broken_files_are_trained_again(cache, monkeypatch):
    minihub.build(progress=False)
    assert models.is_built(TINY)
    monkeypatch.setattr(models, "VERSION", models.VERSION + 1)
    assert not models.is_built(TINY)
    minihub.build(progress=False)
    assert models.is_built(TINY)
    file = cache / "tiny.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    assert not models.is_built(TINY)
    minihub.build(progress=False)
    assert models.is_built(TINY)


def test_an_interrupted_write_leaves_no_model(cache, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_model(TINY)
    assert not models.is_built(TINY)


def test_loaded_models_bring_their_own_preprocessing(cache, monkeypatch):
    from timm.data import resolve_model_data_config

    other = dataclasses.replace(TINY, name="other", size=40, normalisation=models.HALF)
    configs = []
    monkeypatch.setattr(models, "MODELS", (TINY, other))
    for spec in (TINY, other):
        train_model(spec)
        module = minihub.load(spec.name)
        assert not module.training
        configs.append(resolve_model_data_config(module))
    assert [c["input_size"] for c in configs] == [(3, 32, 32), (3, 40, 40)]
    assert configs[0]["mean"] != configs[1]["mean"]


@pytest.mark.parametrize("target", ["handwritten", "angle"])
def test_truth_is_kept(cache, monkeypatch, target):
    monkeypatch.setattr(fine_tuning, "EPOCHS", 1)
    first = minihub.truth([target], progress=False)
    lines = (cache / "truth.jsonl").read_text()
    (cache / "truth.jsonl").write_text(lines + '{"key": "cut off by a k')
    assert minihub.truth([target], progress=False) == first
    assert first[0].metric == ("R2" if target == "angle" else "accuracy")
    more = minihub.truth([target], seeds=2, progress=False)
    assert [run.seed for run in more] == [0, 1]
    assert more[0] == first[0]


def test_demo_puts_truth_beside_scores(cache, monkeypatch):
    other = dataclasses.replace(TINY, name="other", source="letters")
    monkeypatch.setattr(models, "MODELS", (TINY, other))
    monkeypatch.setattr(fine_tuning, "EPOCHS", 1)
    first = []
    found = demo("lowercase", on_ranking=first.append, progress=False)
    assert found.title == "fine-tuned accuracy"
    assert {m.name for m in found.ranking.scored} == {"tiny", "other"}
    runs = minihub.truth(["lowercase"], progress=False)
    assert found.ranking.extra[found.title] == {run.model: run.value for run in runs}
    assert [r.models for r in first] == [found.ranking.models]  # before the fine-tuning
    assert "All were trained on this machine" in found.how
    demo("lowercase", on_ranking=first.append, progress=False)
    assert len(first) == 1  # all is known
    with pytest.raises(ValueError, match=r"target must be one of .*, got 'x'"):
        demo("x")


def test_wrong_names_are_named(cache):
    with pytest.raises(ValueError, match=r"model must be one of \['tiny'\], got 'x'"):
        minihub.load("x")
    with pytest.raises(ValueError, match=r"target must be one of .*, got 'x'"):
        minihub.load_target("x")
    with pytest.raises(ValueError, match=r"targets must be of .*, got 'x'"):
        minihub.truth(["x"])
    with pytest.raises(ValueError, match=r"source must be one of"):
        tasks.source_images("x", 1, 0)
    with pytest.raises(FileNotFoundError, match=r"tiny is not built"):
        minihub.load("tiny")
