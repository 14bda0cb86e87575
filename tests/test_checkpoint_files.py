"""Checkpoints as training scripts, wrappers and trainers leave them, read as weights only."""

import argparse
import collections
import datetime
import enum
import functools
import pathlib
import sys
import types

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from hubfast import rank
from hubfast.hub import as_source, timm_models
from hubfast.nn.checkpoints import find_weights
from hubfast.nn.weight_files import read_weight_file

NAME = "test_resnet"
WRAPPED = ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net."]


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


@functools.cache
def trained():
    torch.manual_seed(3)
    return timm.create_model(NAME, num_classes=3).eval()


def weights(prefix=""):
    return {f"{prefix}{name}": x for name, x in trained().state_dict().items()}


def other(state):
    """Weights that must not be taken."""
    return {name: x + 1 for name, x in state.items()}


def loaded(path, content, **options):
    torch.save(content, path, **options)
    return timm_models.from_checkpoint(NAME, path)


def same(network):
    """Whether it has the trained weights, classifier included."""
    own = network.run.state_dict()
    return all(torch.equal(own[name], x) for name, x in weights().items() if "batches" not in name)


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
        before = torch.serialization.get_safe_globals()
        loaded(tmp_path / "c.pth", {"args": argparse.Namespace(), "model": weights()})
        assert torch.serialization.get_safe_globals() == before


class TestPlaces:
    @pytest.mark.parametrize("prefix", WRAPPED)
    @pytest.mark.parametrize("place", [None, "state_dict", "model", "model_state_dict", "module"])
    def test_prefixes_and_nests(self, tmp_path, prefix, place):
        state = weights(prefix)
        content = state if place is None else {place: state, "optimizer": {"state": {0: {}}}}
        network = loaded(tmp_path / "c.pt", content)
        assert same(network)
        assert network.notes == ()

    @pytest.mark.parametrize("prefix", WRAPPED)
    def test_safetensors(self, tmp_path, prefix):
        save_file(
            {name: x.clone() for name, x in weights(prefix).items()}, tmp_path / "c.safetensors"
        )
        assert same(timm_models.from_checkpoint(NAME, tmp_path / "c.safetensors"))

    def test_parts_that_were_compiled(self, tmp_path):
        state = {n.replace("layer1.", "layer1._orig_mod."): x for n, x in weights().items()}
        assert same(loaded(tmp_path / "c.pt", state))

    @pytest.mark.parametrize("key", ["ema", "model_ema", "state_dict_ema", "ema_state_dict"])
    def test_averaged_weights_first(self, tmp_path, key):
        content = {"state_dict": other(weights()), key: weights("module."), "model": None}
        network = loaded(tmp_path / "c.pt", content)
        assert same(network)
        assert network.notes == (f"weights are those of {key}; also there: state_dict",)

    def test_averaged_weights_of_another_model_are_not_taken(self, tmp_path):
        content = {"model": weights(), "model_ema": {"linear.weight": torch.ones(3, 3)}}
        assert same(loaded(tmp_path / "c.pt", content))

    def test_average_of_torch(self, tmp_path):
        averaged = torch.optim.swa_utils.AveragedModel(trained())
        assert same(loaded(tmp_path / "c.pt", averaged.state_dict()))

    @pytest.mark.parametrize(
        ("taken", "left"),
        [("teacher.", "student."), ("encoder_q.", "encoder_k."), ("model_ema.", "model.")],
    )
    def test_two_networks_side_by_side(self, tmp_path, taken, left):
        content = {"state_dict": {**other(weights(left)), **weights(taken)}}
        network = loaded(tmp_path / "c.pt", content)
        assert same(network)
        assert f"state_dict.{left[:-1]}" in network.notes[0]

    def test_a_teacher_of_another_shape_is_not_taken(self, tmp_path):
        teacher = {f"teacher.{n}": torch.zeros(1, *x.shape) for n, x in weights().items()}
        assert same(loaded(tmp_path / "c.pt", {**teacher, **weights("student.")}))

    def test_lightning(self, tmp_path):
        content = {
            "epoch": 1,
            "pytorch-lightning_version": "2.0",
            "state_dict": {**weights("model."), "criterion.weight": torch.ones(3)},
            "hyper_parameters": {"options": argparse.Namespace(lr=1), "path": pathlib.Path("a")},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        }
        assert same(loaded(tmp_path / "last.ckpt", content))

    def test_counters_do_not_matter(self, tmp_path):
        state = {n: x for n, x in weights().items() if "num_batches" not in n}
        state |= {"total_ops": torch.ones(1), "layer1.total_params": torch.ones(1)}
        assert same(loaded(tmp_path / "c.pt", state))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_types_become_the_models(self, tmp_path, dtype):
        state = {n: x.to(dtype) if x.is_floating_point() else x for n, x in weights().items()}
        network = loaded(tmp_path / "c.pt", state)
        assert {p.dtype for p in network.run.parameters()} == {torch.float32}
        for name, x in network.run.state_dict().items():
            torch.testing.assert_close(x, weights()[name].to(dtype).to(x.dtype))


class TestClassifiers:
    @pytest.mark.parametrize("classes", [2, 7])
    def test_of_two_heads(self, tmp_path, classes):
        name = "deit_tiny_distilled_patch16_224"
        model = timm.create_model(name, num_classes=classes)
        torch.save({"model": model.state_dict()}, tmp_path / "c.pth")
        found = timm_models.from_checkpoint(name, tmp_path / "c.pth").run
        assert (found.head.out_features, found.head_dist.out_features) == (classes, classes)
        assert torch.equal(found.head_dist.weight, model.head_dist.weight)

    @pytest.mark.parametrize("rename", [None, "last_linear", "head", "classifier.1"])
    def test_absent_or_of_another_name(self, tmp_path, rename):
        state = {n: x for n, x in weights().items() if not n.startswith("fc.")}
        if rename:
            state |= {f"{rename}.weight": torch.ones(9, 5), f"{rename}.bias": torch.ones(9)}
        network = loaded(tmp_path / "c.pth", state)
        assert network.run.num_classes == 0
        assert "features only" in network.notes[0]
        assert (rename is None) == (len(network.notes) == 1)
        images = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
        spec = f"timm:{NAME}@{tmp_path / 'c.pth'}"
        row = rank([spec], (images, np.arange(12) % 2), metrics=["logme", "leep"], progress=False)[
            0
        ]
        assert "features only" in row.note
        assert np.isfinite(row.scores["logme"].score)
        assert row.scores["leep"].score is None  # features are not passed off as logits


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
        import os

        class Bad:
            def __reduce__(self):
                return os.getcwd, ()

        torch.save({"model": weights(), "x": Bad()}, tmp_path / "c.pt")
        with pytest.raises(ValueError, match=r"names posix.getcwd, which no file of weights"):
            timm_models.from_checkpoint(NAME, tmp_path / "c.pt")

    def test_near_names_are_offered(self):
        with pytest.raises(RuntimeError, match=r"no model 'resnt50'; near to it: \S*resn\S*50"):
            as_source("timm:resnt50").load()


def test_found_weights_keep_to_the_names_of_the_model():
    model = nn.Sequential(nn.Linear(2, 3))
    state = {f"a.b.module.{name}": x for name, x in model.state_dict().items()}
    found = find_weights({"x": {"y": state}, "z": 3}, model.state_dict())
    assert (found.place, found.matching, found.others) == ("x.y.a.b", 2, ())
    assert {*found.weights} == {"0.weight", "0.bias"}
