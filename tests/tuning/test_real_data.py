"""Tuning on data as people have it: broken files, tiny classes, tables, untrainable models."""

import json
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import timm
import tiny
import torch
import typer
from PIL import Image
from torch import nn
from torchvision.transforms import ToTensor
from typer.testing import CliRunner

from hubfast.cli import app
from hubfast.cli.output import with_options
from hubfast.cli.resume import resumable
from hubfast.data import TargetData, as_target_data
from hubfast.hub import as_hub, as_source
from hubfast.report import write_tuning
from hubfast.tuning import Recipe, Trainer, tune
from hubfast.tuning.methods.abilities import architecture, usable
from hubfast.tuning.parts import Parts


def trainer(**options):
    return Trainer(Recipe(epochs=1, batch_size=8), accelerator="cpu", progress=False, **options)


def network():
    torch.manual_seed(0)
    return {"net": as_source(tiny.Small(), transform=ToTensor())}


def folder(path, count=8, broken=(), names=("ant", "bee", "cat")):
    """Images of three colours; those at `broken` are cut off."""
    images, labels = tiny.coloured(count * len(names), len(names))
    for k, (image, label) in enumerate(zip(images, labels, strict=True)):
        file = path / names[label] / f"{k:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
        if k in broken:
            file.write_bytes(file.read_bytes()[:50])
    return path


def test_unreadable_images_are_left_out_and_named(tmp_path):
    train = folder(tmp_path / "train", broken=[5])
    held, test = (folder(tmp_path / n, broken=[7, 8]) for n in ("held", "test"))
    tuned = tune(
        network(), train, method="single", top=1, trainer=trainer(), max_unreadable=0.1,
        validation=as_target_data(held), test=test,
    )  # fmt: skip
    samples = {name: len(found.targets) for name, found in tuned.evaluations.items()}
    assert samples == {"validation": 22, "test": 22}
    assert tuned.ranking.samples == 23
    assert len(tuned.notes) == 3
    assert tuned.notes[0].startswith("1 of 24 samples cannot be read and are left out: ")
    assert "05.png" in tuned.notes[0]
    for part, note in zip(("validation", "test"), tuned.notes[1:], strict=True):
        assert note.startswith(f"{part}: 2 of 24 samples cannot be read")
        assert "07.png" in note
        assert "08.png" in note
    write_tuning(tmp_path / "report.html", tuned)
    tuned.save(tmp_path / "model")
    for file in ("report.html", "model/README.md"):
        assert "05.png" in (tmp_path / file).read_text().replace("<wbr>", "")
    with pytest.raises(ValueError, match=r"^test data: 2 of 24 samples cannot be read, more than"):
        tune(network(), train, method="single", top=1, trainer=trainer(), test=test)


@pytest.mark.parametrize("seed", range(8))
def test_every_class_is_trained_on(seed):
    """Classes of one and two samples: whatever the seed, training has some of each."""
    targets = torch.tensor([0] * 10 + [1] * 10 + [2] * 2 + [9])
    data = TargetData("some", None, targets, "classification")
    for share in (0.05, 0.2, 0.5, 0.8):
        parts = Parts.of(data, share, None, seed=seed)
        held = parts.held_out["validation"]
        assert parts.labels.names == ("0", "1", "2", "9")
        assert len(parts.train) + len(held) == 23
        rows = torch.cat([parts.train.rows(), held.rows()]).sort().values
        assert rows.tolist() == list(range(23))
        assert 9 not in held.targets
        assert "classes of one sample, which is only trained on: 9" in parts.notes
        assert abs(len(held) - share * 22) <= 3


def test_what_cannot_be_held_out_is_said():
    each_once = TargetData("some", None, torch.arange(5), "classification")
    with pytest.raises(ValueError, match=r"validation=0.2 must .* have one sample each"):
        Parts.of(each_once, 0.2, None)
    assert len(Parts.of(each_once, 0, None).train) == 5


@pytest.mark.parametrize("seed", range(6))
def test_every_label_of_several_is_trained_on(seed):
    targets = torch.zeros(20, 3, dtype=torch.float64)
    targets[:10, 0] = 1
    targets[10:, 1] = 1
    targets[4, 2] = 1  # one sample has this label
    parts = Parts.of(TargetData("some", None, targets, "multilabel"), 0.5, None, seed=seed)
    assert parts.train.targets.any(0).all()


def table(path, folder, column="photo", target="species", suffix=".csv"):
    rows = [f"{column},size,{target}"]
    for file in sorted(folder.glob("*/*.png")):
        rows.append(f"{file.relative_to(path)},7,{file.parent.name}")
    (path / f"{folder.name}{suffix}").write_text("\n".join(rows) + "\n")
    return path / f"{folder.name}{suffix}"


def test_columns_of_tables(tmp_path):
    train = table(tmp_path, folder(tmp_path / "train"))
    test = table(tmp_path, folder(tmp_path / "test", names=("bee", "cat")))
    tuned = tune(
        network(), train, test=test, method="single", top=1, trainer=trainer(),
        sample_column="photo", target_columns="species",
    )  # fmt: skip
    assert tuned.labels.names == ("ant", "bee", "cat")
    assert set(tuned.evaluations["test"].targets.tolist()) == {1, 2}
    other = table(tmp_path, folder(tmp_path / "other"), target="kind")
    with pytest.raises(ValueError, match=r"^test data: .*'species'"):
        tune(
            network(), train, test=other, method="single", top=1, trainer=trainer(),
            sample_column="photo", target_columns="species",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("target_columns must say which", "--target-column must say which"),
        ("more than max_unreadable=0.05 of", "more than --max-unreadable=0.05 of"),
        ("top must be at most 2", "--top must be at most 2"),
        ("the top must be at most 2", "the top must be at most 2"),
        ("no column 'sample_column', there", "no column 'sample_column', there"),
        ("data/sample_column/x.csv not found", "data/sample_column/x.csv not found"),
        ("test data: sample_column must say", "test data: --sample-column must say"),
    ],
)
def test_errors_name_the_option(message, wanted):
    assert with_options(message) == wanted


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.pt"
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), path)
    return path


def command(tmp_path, weights):
    data = table(tmp_path, folder(tmp_path / "train"))
    test = table(tmp_path, folder(tmp_path / "test", names=("bee", "ant")))
    return [
        "tune", "--hub", f"timm:test_resnet@{weights}", "--data", str(data), "--test", str(test),
        "--sample-column", "photo", "--target-column", "species", "--method", "single",
        "--epochs", "3", "--batch-size", "8", "--device", "cpu", "--quiet", "--size", "16",
        "--output", str(tmp_path / "out"),
    ]  # fmt: skip


def test_the_command_shows_baselines_and_goes_on(tmp_path, weights, monkeypatch):
    given = command(tmp_path, weights)
    monkeypatch.setattr("sys.argv", ["hubfast", *given])

    def stop(terms, step, rows):
        if step == 3:  # an epoch has two steps
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hubfast.tuning.trainer.check_finite", stop)
        stopped = CliRunner().invoke(app, given)
    assert stopped.exit_code == 130
    assert f"the last checkpoint is {tmp_path / 'out' / 'checkpoint.pt'}. To go on:" in (
        stopped.output
    )
    line = stopped.output.strip().splitlines()[-1]
    assert line == " ".join(["hubfast", *given, "--resume"])
    done = CliRunner().invoke(app, [*given, "--resume"])
    assert done.exit_code == 0, done.output
    for name in ("majority class", "k-NN", "linear head"):
        assert f"{name}, not tuned" in done.output
    assert "no samples of 1 of the 3 classes trained on: cat" in " ".join(done.output.split())
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [each["name"] for each in record["baselines"]] == [
        "majority class", "k-NN", "linear head"
    ]  # fmt: skip
    assert set(record["evaluations"]) == {"validation", "test"}
    assert record["labels"]["names"] == ["ant", "bee", "cat"]
    card = (tmp_path / "out" / "model" / "README.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    for text in (card, page):
        assert "k-NN" in text.replace("<wbr>", "")


def test_a_stop_without_a_checkpoint(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["hubfast", "tune", "--data", "my photos"])
    with pytest.raises(typer.Exit) as stopped, resumable(tmp_path / "none"):
        raise KeyboardInterrupt
    assert stopped.value.exit_code == 130
    said = capsys.readouterr().err
    assert said == (
        "stopped; no checkpoint yet. To start again:\nhubfast tune --data 'my photos' --resume\n"
    )
    old = tmp_path / "checkpoint.pt"
    old.touch()
    os.utime(old, (1, 1))  # of an earlier run, from which this one must not go on
    with pytest.raises(typer.Exit), resumable(tmp_path):
        raise KeyboardInterrupt
    assert capsys.readouterr().err.endswith("hubfast tune --data 'my photos'\n")


def test_sigterm_is_a_stop_like_ctrl_c(tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def stop():
        with resumable(tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)  # which the signal ends

    with pytest.raises(typer.Exit) as stopped:
        stop()
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def images(task="classification"):
    found = tiny.data()
    return (
        replace(found, task=task, targets=found.targets.double()[:, None])
        if task != ("classification")
        else found
    )


class Staged(nn.Module):
    """A network that names its stages as timm's do."""

    feature_info = ({"module": "0"},)


def test_methods_for_classes_say_so_before_the_ranking():
    hub = as_hub(network())
    for method in ("co-tuning", "hub-pathway", "zoo", "zoo-lite"):
        with pytest.raises(ValueError, match="the targets are regression; methods that can: ") as e:
            usable(method, 2, hub, images("regression"))
        assert "single" in str(e.value)
        assert f", {method}" not in str(e.value).partition("can:")[2]


def test_models_that_cannot_be_trained_are_left_out(tmp_path):
    np.save(tmp_path / "stored.npy", np.zeros((24, 3)))
    hub = as_hub([tmp_path / "stored.npy", "onnx:some.onnx", "keras:some.keras", "export:a.pt2"])
    hub += as_hub({"callable": lambda batch: batch.flatten(1)})
    with pytest.raises(ValueError, match="hub must hold a model that can be tuned; no method") as e:
        usable("single", 1, hub, images())
    for reason in ("stored is left out: stored features", "onnx:some.onnx is left out: an ONNX",
                   "callable is left out: a callable", "Keras", "exported program"):  # fmt: skip
        assert reason in str(e.value)
    found = usable("single", 1, [*hub, *as_hub(network())], images())
    assert [source.name for source in found.sources] == ["net"]
    assert len(found.notes) == 5
    with pytest.raises(ValueError, match="top must be at most 1, the models that can be tuned"):
        usable("b-tuning", 2, [*hub, *as_hub(network())], images())


def test_a_better_model_that_cannot_be_trained_is_not_chosen(tmp_path):
    data = tiny.data()
    perfect = torch.nn.functional.one_hot(data.targets).double().numpy()
    np.save(tmp_path / "stored.npy", perfect)
    hub = {**network(), "best": tmp_path / "stored.npy"}
    tuned = tune(hub, data, method="single", top=1, trainer=trainer())
    assert tuned.models == ("net",)
    assert "best is left out: stored features, no model" in tuned.notes
    assert [model.name for model in tuned.ranking] == ["net"]


def test_architectures_are_compared_without_loading():
    timm_hub = as_hub(["timm:resnet18.a1_in1k", "timm:resnet18.tv_in1k", "timm:resnet50.a1_in1k"])
    assert [architecture(s) for s in timm_hub] == ["resnet18", "resnet18", "resnet50"]
    assert len(usable("zoo", 2, timm_hub, images()).sources) == 3
    message = "zoo needs two models of one architecture.*no two models of the hub are of one"
    with pytest.raises(ValueError, match=message) as e:
        usable("zoo", 2, timm_hub[1:], images())
    assert "b-tuning" in str(e.value)
    unknown = [*timm_hub[1:], *as_hub(["hf:some/model"])]
    assert len(usable("zoo", 2, unknown, images()).sources) == 3  # nobody knows yet
    first, alike, wider = tiny.Small(), tiny.Small(), tiny.Small(width=7)
    alike.fc = nn.Linear(6, 9)  # another classifier is no other architecture
    a, b, c = (architecture(s) for s in as_hub([first, alike, wider]))
    assert a == b != c


def test_stages_and_classifiers():
    hub = as_hub({"plain": tiny.Small(), "staged": Staged()})
    assert list(usable("delta", 1, hub, images()).left_out) == ["plain"]
    with pytest.raises(ValueError, match="delta needs models that name their stages"):
        usable("delta", 1, hub[:1], images())
    hub = as_hub(["timm:vit_small_patch14_dinov2.lvd142m", "timm:resnet18.a1_in1k"])
    found = usable("co-tuning", 1, hub, images())
    assert list(found.left_out) == ["timm:vit_small_patch14_dinov2.lvd142m"]


def test_texts_are_refused_before_the_ranking():
    texts = as_target_data((["a film", "a play"] * 4, np.arange(8) % 2))
    with pytest.raises(
        ValueError,
        match=r"net is left out: no transformers model \(hf:NAME\)",
    ):
        tune(network(), texts, method="single", top=1, trainer=trainer())
