"""tune(): every method on a hub of tiny timm models, what it saves, its command and its report."""

import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import timm
import tiny
import torch
from typer.testing import CliRunner

from hubfast.cli import app
from hubfast.hub import as_source
from hubfast.ranking import rank
from hubfast.report import write_tuning
from hubfast.tuning import Method, Recipe, Trainer, tune
from hubfast.tuning.methods.zoo import ZooMethod
from hubfast.utils.threads import one_torch_thread

NAMES = ("first", "second", "third")


@pytest.fixture(autouse=True)
def one_thread():
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def hub():
    torch.manual_seed(0)
    models = {name: timm.create_model("test_resnet", num_classes=5) for name in NAMES}
    for model in models.values():
        model.pretrained_cfg = {**model.pretrained_cfg, "input_size": (3, 8, 8), "crop_pct": 1.0}
    return models


@pytest.fixture(scope="module")
def ranking(hub):
    return rank(hub, tiny.data(), progress=False)


def trainer(epochs=1, **options):
    return Trainer(
        Recipe(epochs=epochs, batch_size=12, lr=3e-3),
        accelerator="cpu",
        progress=False,
        **options,
    )


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method(hub, ranking, tmp_path, method):
    tuned = tune(
        hub,
        tiny.data(),
        method=method,
        top=2,
        ranking=ranking,
        validation=6 / 24,
        test=tiny.data(12, seed=1),
        trainer=trainer(2 if method == "hub-pathway" else 1),
    )
    several = method in (
        "kd",
        "b-tuning",
        "ensemble",
        "distill",
        "knowledge-flow",
        "hub-pathway",
        "zoo",
        "zoo-lite",
    )
    assert tuned.models == tuple(ranking.top(2 if several else 1))
    assert [len(e.targets) for e in tuned.evaluations.values()] == [6, 12]
    assert tuned.cost.multiply_adds > 0
    assert tuned.cost.samples_per_second > 0
    tuned.save(tmp_path / "model")
    saved = torch.load(tmp_path / "model" / "model.pt", weights_only=False)
    images = torch.rand(2, 3, 8, 8)
    if method in ("ensemble", "hub-pathway", "zoo"):
        torch.testing.assert_close(saved(images), tuned.module(images))
    else:
        assert type(saved) is type(hub["first"])
        model = getattr(tuned.module, "deployed", tuned.module)
        torch.testing.assert_close(saved(model.prepare(images)), model(images))
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"`{method}`" in card
    write_tuning(tmp_path / "report.html", tuned)
    page = (tmp_path / "report.html").read_text()
    for heading in ("Curves", "Confusion matrix, test", "Cost"):
        assert heading in page
    pathways = ("Classes and models", "Load over the course of training", "Images of each model")
    for heading in pathways:
        assert (heading in page) == (method == "hub-pathway")
    if method == "hub-pathway":
        assert tuned.pathways.models == list(tuned.models)
        assert tuned.pathways.samples == 6  # the validation part
        course = tuned.pathways.history
        assert course.shape == (2, 2)
        torch.testing.assert_close(course.sum(1), torch.full((len(course),), 2.0))
        assert len(tuned.history.diagnostics["entropy"]) == 2


def test_timm_loads_what_was_saved(hub, ranking, tmp_path):
    tuned = tune(hub, tiny.data(), method="single", ranking=ranking, trainer=trainer())
    tuned.save(tmp_path)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    images = torch.rand(2, 3, 8, 8)
    model = tuned.module.deployed
    torch.testing.assert_close(loaded(model.prepare(images)), model(images))
    again = as_source(f"timm:test_resnet@{tmp_path / 'model.safetensors'}").load()
    torch.testing.assert_close(again.run.eval()(images), loaded(images))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["label_names"] == ["0", "1", "2"]


def test_it_ranks_first_and_says_so(hub):
    seen = []
    tuned = tune(hub, tiny.data(), method="single", trainer=trainer(), on_ranking=seen.append)
    assert [r.data for r in seen] == ["colours"]
    assert seen[0].samples == 19  # on the training part only
    assert tuned.ranking is seen[0]
    assert tuned.models == (seen[0].top(1)[0],)


def test_the_best_model_learns(hub, ranking):
    tuned = tune(
        hub,
        tiny.data(60),
        method="single",
        ranking=ranking,
        validation=0.0,
        test=tiny.data(30, seed=1),
        trainer=trainer(epochs=12),
    )
    assert tuned.evaluations["test"].value > 0.9


@pytest.mark.parametrize("method", ["single", "delta", "b-tuning", "distill", "ensemble"])
def test_regression(hub, ranking, method):
    images, labels = tiny.coloured()
    data = (list(images), 100.0 + 10 * labels)
    tuned = tune(
        hub, data, method=method, top=2, ranking=ranking, validation=0.0, test=data,
        trainer=trainer(epochs=12),
    )  # fmt: skip
    assert tuned.evaluations["test"].metric == "R2"
    assert tuned.evaluations["test"].value > 0
    with pytest.raises(ValueError, match="co-tuning needs a model with its source classifier"):
        tune(hub, data, method="co-tuning", ranking=ranking, trainer=trainer())


def test_teachers_see_augmented_pictures(hub, ranking):
    tuned = tune(
        hub, tiny.data(), method="b-tuning", top=2, ranking=ranking, augment="crop",
        trainer=trainer(),
    )  # fmt: skip
    held = sum(p.numel() for p in hub["first"].parameters())
    assert tuned.cost.train_parameters > 2 * held  # the teachers are there, not cached


def test_wrong_arguments(hub, ranking):
    with pytest.raises(ValueError, match=r"method must be one of .*, got 'x'"):
        tune(hub, tiny.data(), method="x")
    with pytest.raises(ValueError, match=r"weight is for one of .*, not for 'single'"):
        tune(hub, tiny.data(), method="single", weight=1.0)
    with pytest.raises(ValueError, match="weight must be finite and not negative, got -1"):
        tune(hub, tiny.data(), method="bss", weight=-1.0)
    with pytest.raises(ValueError, match=r"top must be at least 1 for method '.*', got 0"):
        tune(hub, tiny.data(), top=0)
    with pytest.raises(ValueError, match="top must be at most 3"):
        tune(hub, tiny.data(), top=4, ranking=ranking, trainer=trainer())
    with pytest.raises(ValueError, match="Precision '8' is invalid"):
        tune([], tiny.data(), trainer=trainer(precision="8"))
    broken = [replace(m, score=None, error="why") for m in ranking.models]
    none, one = (replace(ranking, models=(*ranking.models[:k], *broken[k:])) for k in (0, 1))
    for method in ("single", "zoo"):
        with pytest.raises(ValueError, match=r"that can be ranked\n\w+ failed: why\n"):
            tune(hub, tiny.data(), method=method, ranking=none, trainer=trainer())
    with pytest.raises(ValueError, match=r"at most 1, .* got 2\n\w+ failed: why\n"):
        tune(hub, tiny.data(), top=2, ranking=one, trainer=trainer())
    with pytest.raises(ValueError, match=r"models that it lacks: "):
        tune({"other": hub["first"]}, tiny.data(), top=1, ranking=ranking, trainer=trainer())
    with pytest.raises(ValueError, match=r"validation must be a share in 0\.\.1"):
        tune(hub, tiny.data(), validation=1.5, ranking=ranking, trainer=trainer())


def test_the_command(hub, tmp_path, monkeypatch):
    weights = tmp_path / "weights.pt"
    torch.save(hub["first"].state_dict(), weights)
    images, labels = tiny.coloured()
    np.savez(tmp_path / "data.npz", images=images, targets=labels)
    output = tmp_path / "out"
    command = ["tune", "--hub", f"timm:test_resnet@{weights}", "--data"]
    command += [str(tmp_path / "data.npz"), "--method", "bss", "--epochs", "2", "--batch-size"]
    command += ["8", "--device", "cpu", "--quiet", "--output", str(output), "--size", "16"]
    done = CliRunner().invoke(app, [*command, "--tensorboard"])
    assert done.exit_code == 0, done.output
    for name in ("model/model.safetensors", "model/README.md", "report.html", "ranking.json"):
        assert (output / name).exists()
    assert list((output / "tensorboard").iterdir())
    assert "validation accuracy" in done.output
    again = CliRunner().invoke(app, [*command, "--resume"])
    assert again.exit_code == 0, again.output
    other = CliRunner().invoke(app, [*command, "--resume", "--lr", "0.5"])
    assert "run with another lr" in str(other.exception)


@pytest.mark.parametrize("lite", [False, True])
def test_zoo_tuning_settles_its_running_statistics(lite):
    """After them, evaluation normalises as training does, however short that was."""
    models = [tiny.model(seed=seed) for seed in range(2)]
    zoo, images = ZooMethod(models, 3, [1.0, 0.5], lite=lite), torch.rand(256, 3, *tiny.SIZE)
    with torch.no_grad():
        before = zoo.eval()(images)
        zoo.settle([images])
        assert not zoo.training
        after, wanted = zoo(images), zoo.train()(images)
    assert not torch.allclose(before, wanted, rtol=0.1, atol=0.01)
    torch.testing.assert_close(after, wanted, rtol=1e-3, atol=1e-3)
