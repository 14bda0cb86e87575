"""Files that hubfast wrote before modules and attributes were renamed are still read."""

import importlib
import struct
import zipfile
from dataclasses import replace

import pytest
import tiny
import torch

from hubfast.bench.tuning import trials
from hubfast.pathway import HubModel, HubPathway, pathway_generator
from hubfast.tuning import Recipe, TargetEncoder, Trainer
from hubfast.tuning.methods.ensemble import Ensemble
from hubfast.tuning.methods.zoo import ZooMethod
from hubfast.tuning.objective import TaskLoss
from hubfast.utils import files

# What a `model.pt` called its classes, by what they are called now.
CLASSES = {
    "hubfast.nn.normalization Normalize": "hubfast.zoo.normalization Normalize",
    "hubfast.ops.routing.reference Routes": "hubfast.reference.route Routes",
    "hubfast.tuning.methods.ensemble Ensemble": "hubfast.tuning.ensemble Ensemble",
    "hubfast.tuning.methods.zoo ZooMethod": "hubfast.tuning.aggregated Zoo",
    "hubfast.tuning.pretrained TransferModel": "hubfast.tuning.pretrained Pretrained",
    "hubfast.zoo.base Samples": "hubfast.zoo.layer Samples",
    "hubfast.zoo.module ZooTuning": "hubfast.zoo.tuning ZooTuning",
}
LABELS = TargetEncoder("regression", 3, ("x", "y", "z"), std=torch.tensor([0.5, 1.0, 2.0]))


def save_as_before(module, path, *, std_was_deviation):
    """Writes what torch.save does, with the names that hubfast's classes and buffers had."""
    torch.save(module, path)
    with zipfile.ZipFile(path) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    used = set()
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in members.items():
            if info.filename.endswith("data.pkl"):
                for pair in CLASSES.items():
                    now, former = ("c{}\n{}\n".format(*name.split()).encode() for name in pair)
                    used |= {former} if now in content else set()
                    content = content.replace(now, former)
                if std_was_deviation:
                    content = content.replace(_pickled("std"), _pickled("deviation"))
            archive.writestr(info.filename, content)
    return used


def _pickled(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def an_ensemble():
    return Ensemble([tiny.model(seed=seed) for seed in range(2)], TaskLoss(LABELS))


def a_pathway():
    models = {name: HubModel(tiny.model(seed=seed)) for seed, name in enumerate("ab")}
    generator = pathway_generator("test_resnet", 2)
    hub = HubPathway(models, 1, classes=3, generator=generator)
    hub(torch.rand(2, 3, *tiny.SIZE))  # its last routes are saved, too
    return hub


def a_zoo():
    return ZooMethod([tiny.model(seed=seed) for seed in range(2)], 3, [0.5, 0.5], lite=False)


@pytest.mark.parametrize(
    ("make", "renamed"),
    [(an_ensemble, 2), (a_pathway, 2), (a_zoo, 4)],
    ids=["ensemble", "pathway", "zoo"],
)
@pytest.mark.filterwarnings("ignore:hubfast.* is now:DeprecationWarning")
def test_a_former_model(tmp_path, make, renamed):
    module, path = make().eval(), tmp_path / "model.pt"
    used = save_as_before(module, path, std_was_deviation=make is an_ensemble)
    assert len(used) == renamed
    images = torch.rand(3, 3, *tiny.SIZE)
    loaded = torch.load(path, weights_only=False)
    assert type(loaded) is type(module)
    torch.testing.assert_close(loaded(images), module(images), rtol=0, atol=0)
    assert loaded.state_dict().keys() == module.state_dict().keys()
    torch.save(loaded, path)  # again, by the names of now
    assert torch.equal(torch.load(path, weights_only=False)(images), module(images))


def test_modules_that_never_were_are_missing():
    with pytest.raises(ModuleNotFoundError, match=r"hubfast\.tuning\.nothing"):
        importlib.import_module("hubfast.tuning.nothing")
    ensemble = importlib.import_module("hubfast.tuning.ensemble")
    with pytest.warns(DeprecationWarning, match="is now hubfast.tuning.methods.ensemble.Ensemble"):
        assert ensemble.Ensemble is Ensemble
    with pytest.raises(AttributeError, match="no attribute 'Trio'"):
        ensemble.Trio  # noqa: B018


def test_former_labels():
    values = LABELS.as_dict()
    values["deviation"] = values.pop("std")
    assert TargetEncoder.from_dict(values).std.tolist() == [0.5, 1.0, 2.0]


def test_a_former_checkpoint_goes_on(tmp_path):
    images, labels = tiny.pictures()
    trainer = Trainer(
        Recipe(epochs=1, batch_size=4, lr=1e-2),
        folder=tmp_path,
        accelerator="cpu",
        progress=False,
    )
    history = trainer.fit(tiny.model(), images, labels)
    content = files.load(tmp_path / "checkpoint.pt")
    content["recipe"]["rate"] = content["recipe"].pop("lr")
    files.save(tmp_path / "checkpoint.pt", content)
    assert trainer.fit(tiny.model(), images, labels, resume=True).terms == history.terms
    other = replace(trainer, recipe=replace(trainer.recipe, lr=1.0))
    with pytest.raises(ValueError, match=r"of a run with another lr$"):
        other.fit(tiny.model(), images, labels, resume=True)


def test_former_trials_are_known(monkeypatch):
    """The key of the trials in benchmarks/results, which were written with another name of lr."""
    monkeypatch.setattr(torch, "__version__", "2.14.1+cu130")
    assert trials._key(trials.RECIPE, trials.RATES) == "cca38ba309e7"
