"""The size and channels of images are those that a timm module was built for."""

import numpy as np
import pytest
import timm
import torch

from hubfast import as_source, rank
from hubfast.nn.image_config import image_config
from hubfast.pathway.models import hub_models


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 255, (12, 20, 24, 3), dtype=np.uint8)


def created(name, **options):
    with torch.device("meta"):
        return timm.create_model(name, num_classes=3, **options)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("deit_tiny_patch16_224", {}, (3, 224, 224)),
        ("deit_tiny_patch16_224", {"img_size": 64}, (3, 64, 64)),
        ("deit_tiny_patch16_224", {"img_size": (64, 32)}, (3, 64, 32)),
        ("deit_tiny_patch16_224", {"img_size": 64, "in_chans": 1}, (1, 64, 64)),
        ("swin_tiny_patch4_window7_224", {"img_size": 448}, (3, 448, 448)),
        ("mixer_s16_224", {"img_size": 64}, (3, 64, 64)),
        ("crossvit_tiny_240", {"img_size": 480}, (3, 480, 480)),
        ("efficientvit_m0", {"img_size": 448}, (3, 448, 448)),
        ("resnet18", {"in_chans": 1}, (1, 224, 224)),
        ("resnet18", {"in_chans": 5}, (5, 224, 224)),
        ("convnext_atto", {"in_chans": 2}, (2, 224, 224)),
        ("resnet18", {}, (3, 224, 224)),
    ],
)
def test_size_and_channels(name, options, expected):
    module = created(name, **options)
    config = image_config(module)
    assert config["input_size"] == expected
    own = timm.data.resolve_model_data_config(module)
    wanted = own["mean"] if expected[0] != 1 else (sum(own["mean"]) / 3,)
    assert config["mean"] == pytest.approx(wanted)


def test_a_changed_input_size_is_found():
    module = timm.create_model("test_vit", num_classes=3)
    module.set_input_size((96, 64))
    assert image_config(module)["input_size"] == (3, 96, 64)


def test_grey_models_get_grey_images(images):
    module = timm.create_model("test_resnet", num_classes=3, in_chans=1).eval()
    transform = as_source(module).load().transform
    pixels = transform(as_image(images[0]))
    grey = transform(as_image(images[0]).convert("L").convert("RGB"))
    assert pixels.shape[0] == 1
    assert torch.equal(pixels, grey)
    assert rank({"grey": module}, (images, np.arange(12) % 2), progress=False)[0].error is None


def test_a_hub_pathway_takes_the_size_too():
    module = timm.create_model("test_vit", num_classes=3, img_size=96)
    (model,) = hub_models([module], None)
    assert model.size == (96, 96)


def as_image(array):
    from PIL import Image

    return Image.fromarray(array)


def test_models_of_more_channels_take_tensors(images):
    module = timm.create_model("test_resnet", num_classes=3, in_chans=4)
    targets = np.arange(12) % 2
    row = rank({"four": module}, (torch.rand(12, 4, 32, 32), targets), progress=False)[0]
    assert row.error is None
    error = rank({"four": module}, (images, targets), progress=False)[0].error
    assert "float tensors, since it takes 4 channels" in error
