"""Checkpoints are read as weights only, whatever lies beside the weights."""

import argparse
import collections
import datetime
import enum
import functools
import os
import pathlib
import sys
import types

import numpy as np
import pytest
import timm
import torch
from torch import nn
from trained_weights import NAME, loaded, same, trained, weights

from hubfast.hub import as_source, timm_models
from hubfast.nn.weight_files import read_weight_file


class Level(enum.Enum):
    HIGH = 1


class Settings(dict):
    """Like yacs' CfgNode: a dictionary with a state of its own."""


class Items(list):
    """Like omegaconf's ListConfig."""


class Runs:
    """Would call `happened` if it were unpickled."""

    def __reduce__(self):
        return happened, ()


def happened():
    raise AssertionError("code from the file ran")


def settings():
    found = Settings(lr=0.1)
    found.frozen = True
    return found


OBJECTS = {
    "namespace": lambda: argparse.Namespace(lr=0.1, data=pathlib.Path("a")),
    "path": lambda: pathlib.PurePosixPath("a/b"),
    "numpy number": lambda: np.float64(0.5),
    "numpy array": lambda: np.arange(3),
    "numpy random state": lambda: np.random.default_rng(0).bit_generator.state,
    "enum": lambda: Level.HIGH,
    "by enum": lambda: {Level.HIGH: 1},
    "date": lambda: datetime.datetime(2020, 1, 1),
    "defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "dictionary with a state": settings,
    "list with items": lambda: Items([1, Items([2])]),
    "partial": lambda: functools.partial(print, 1),
    "simple namespace": lambda: types.SimpleNamespace(a=1),
    "set of objects": lambda: {pathlib.PurePosixPath("a")},
    "module": lambda: nn.Sequential(nn.Linear(2, 2)),
    "object that runs code": Runs,
}


class TestObjectsBesideTheWeights:
    @pytest.mark.parametrize("kind", OBJECTS)
    @pytest.mark.parametrize("zipped", [True, False])
    def test_are_passed_over(self, tmp_path, kind, zipped):
        if kind == "module" and not zipped:
            pytest.skip("torch before 1.6 kept source code beside modules")
        content = {"args": OBJECTS[kind](), "state_dict": weights(), "epoch": 3}
        path = tmp_path / "c.pth.tar"
        network = loaded(path, content, _use_new_zipfile_serialization=zipped)
        assert same(network)

    def test_stand_for_nothing(self, tmp_path):
        torch.save({"a": settings(), "b": Runs()}, tmp_path / "c.pth")
        found = read_weight_file(tmp_path / "c.pth")
        assert {key: (value.kind, len(value)) for key, value in found.items()} == {
            "a": (f"{__name__}.Settings", 0),
            "b": (f"{__name__}.happened", 0),
        }

    def test_modules_of_their_classes_are_not_imported(self, tmp_path):
        module = types.ModuleType("made_up_package")
        module.Options = type("Options", (), {"__module__": "made_up_package"})
        sys.modules["made_up_package"] = module
        torch.save({"args": module.Options(), "model": weights()}, tmp_path / "c.pth")
        del sys.modules["made_up_package"]
        assert same(timm_models.from_checkpoint(NAME, tmp_path / "c.pth"))
        assert "made_up_package" not in sys.modules

    def test_classes_stay_unsafe_afterwards(self, tmp_path):
        before = set(torch.serialization.get_safe_globals())  # a list of a set, in any order
        loaded(tmp_path / "c.pth", {"args": argparse.Namespace(), "model": weights()})
        assert set(torch.serialization.get_safe_globals()) == before


class TestMisfits:
    @pytest.fixture
    def refused(self, tmp_path):
        def error(state):
            with pytest.raises(RuntimeError, match="does not fit test_resnet") as caught:
                loaded(tmp_path / "c.pth", state)
            assert "\n" not in str(caught.value)
            return str(caught.value).partition("test_resnet: ")[2]

        return error

    def test_shapes_are_said_both(self, refused):
        state = weights() | {"conv1.1.weight": torch.ones(5), "layer1.0.bn1.bias": torch.ones(2, 2)}
        own = tuple(weights()["conv1.1.weight"].shape)
        said = f"Size mismatch: 2 (conv1.1.weight is (5,) in the file and {own} in the model"
        assert f"{said}, layer1" in refused(state)

    def test_missing_and_unknown_are_counted_and_named(self, refused):
        state = {n: x for n, x in weights().items() if "layer2" not in n}
        gone = [n for n in weights() if "layer2" in n and "num_batches" not in n]
        state["layer1.9.conv1.weight"] = torch.ones(1)
        said = refused(state)
        listed = f"{', '.join(gone[:3])}, {len(gone) - 3} more"
        assert f"Missing keys: {len(gone)} of 77 ({listed})" in said
        assert "Unexpected keys: 1 (layer1.9.conv1.weight)" in said

    def test_whole_numbers_are_not_weights(self, refused):
        state = weights() | {"conv1.1.weight": torch.ones(16, dtype=torch.int8)}
        assert "conv1.1.weight is (16,) of int8" in refused(state)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (
                trained(),
                r"a whole pickled \S+ResNet; files are read as weights only",
            ),
            (
                {"model": trained(), "epoch": 1},
                r"'model' \(timm\S+ResNet\), 'epoch' \(int\); files are",
            ),
            ({"epoch": 1}, r"checkpoint holds no state dict of tensors, got 'epoch' \(int\)"),
            ([1, 2], "got list"),
        ],
        ids=["module", "module in a dictionary", "no weights", "list"],
    )
    def test_what_there_is_instead_is_said(self, tmp_path, content, said):
        with pytest.raises(RuntimeError, match=said):
            loaded(tmp_path / "c.pth", content)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is empty"),
            (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
            (b"<!DOCTYPE html><html>", "is a web page"),
            (b"no weights at all", "cannot be read as weights: "),
            (b"PK\3\4 and no end", "is cut off: it was not copied or downloaded as a whole"),
        ],
    )
    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_files_that_are_no_checkpoints(self, tmp_path, content, said, suffix):
        path = (tmp_path / "c").with_suffix(suffix)
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said) as caught:
            timm_models.from_checkpoint(NAME, path)
        assert "\n" not in str(caught.value)

    @pytest.mark.filterwarnings("ignore")  # torch.jit.script is deprecated
    def test_torchscript_is_refused(self, tmp_path):
        torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "c.pt"))
        with pytest.raises(ValueError, match="it is a TorchScript program; save its weights"):
            timm_models.from_checkpoint(NAME, tmp_path / "c.pt")

    def test_a_program_in_the_file_is_refused(self, tmp_path):

        class Bad:
            def __reduce__(self):
                return os.getcwd, ()

        torch.save({"model": weights(), "x": Bad()}, tmp_path / "c.pt")
        with pytest.raises(ValueError, match=r"names posix.getcwd, which no file of weights"):
            timm_models.from_checkpoint(NAME, tmp_path / "c.pt")

    @pytest.mark.parametrize(("protocol", "said"), [(3, None), (4, "pickled with protocol 4 or 5")])
    def test_pickle_protocols(self, tmp_path, protocol, said):
        if said is None:
            assert same(loaded(tmp_path / "c.pt", weights(), pickle_protocol=protocol))
        else:
            with pytest.raises(ValueError, match=said):
                loaded(tmp_path / "c.pt", weights(), pickle_protocol=protocol)

    def test_another_architecture(self, refused):
        said = refused({f"blocks.{i}.weight": torch.ones(3, 3) for i in range(5)})
        assert "Missing keys: 75 of 75" in said
        assert "Unexpected keys: 5 (blocks.0.weight, blocks.1.weight, blocks.2.weight, 2" in said

    def test_of_timms_own_training_script(self, tmp_path):
        model = timm.create_model(NAME, num_classes=3)
        averaged = timm.utils.ModelEmaV3(trained())
        saver = timm.utils.CheckpointSaver(
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            args=argparse.Namespace(model=NAME),
            model_ema=averaged,
            checkpoint_dir=str(tmp_path),
        )
        saver.save_checkpoint(1, 0.5)
        network = timm_models.from_checkpoint(NAME, tmp_path / "last.pth.tar")
        assert same(network)
        assert network.notes == ("weights are those of state_dict_ema; also there: state_dict",)

    def test_near_names_are_offered(self):
        with pytest.raises(RuntimeError, match=r"no model 'resnt50'; near to it: \S*resn\S*50"):
            as_source("timm:resnt50").load()
