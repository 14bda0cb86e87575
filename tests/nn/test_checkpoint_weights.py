"""Weights are found wherever training scripts, wrappers and trainers leave them."""

import argparse
import pathlib

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from trained_weights import NAME, loaded, other, same, trained, weights

from hubfast import rank
from hubfast.hub import timm_models
from hubfast.nn.checkpoints import find_weights

WRAPPED = ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net."]


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

    def test_the_number_of_classes_prefers_no_network(self, tmp_path):
        default = timm.create_model(NAME).state_dict()  # of as many classes as the model has
        content = {"model": weights(), "before": default}
        network = loaded(tmp_path / "c.pt", content)
        assert same(network)
        assert network.notes == ("weights are those of model; also there: before",)

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


def test_found_weights_keep_to_the_names_of_the_model():
    model = nn.Sequential(nn.Linear(2, 3))
    state = {f"a.b.module.{name}": x for name, x in model.state_dict().items()}
    found = find_weights({"x": {"y": state}, "z": 3}, model.state_dict())
    assert (found.place, found.matching, found.others) == ("x.y.a.b", 2, ())
    assert {*found.weights} == {"0.weight", "0.bias"}
