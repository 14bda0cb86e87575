"""Models made ready to run give the same features as before, to the rounding of float32."""

import copy

import pytest
import torch
from torch import nn

from hubfast.nn.inference import default_batch_size, for_inference

timm = pytest.importorskip("timm")

FOLDED = {  # name: how many BatchNorms are folded of how many
    "resnet18": (20, 20),
    "seresnet18": (20, 20),
    "resnetv2_18": (8, 17),  # others come before their convolution
    "mobilenetv3_small_100": (34, 34),
    "mobilenetv4_conv_small": (46, 46),
    "efficientnet_lite0": (49, 49),
    "tf_efficientnet_b0": (49, 49),  # Conv2dSame
    "regnety_002": (44, 44),
    "densenet121": (59, 121),
    "levit_128s": (4, 52),  # others follow linear layers
    "repvgg_a0": (44, 61),  # others have branches of their own
    "ghostnet_100": (80, 80),
    "hrnet_w18_small": (91, 91),
    "dla34": (37, 37),
}
CASES = [(name, True) for name in FOLDED] + [(name, False) for name in ("resnet18", "ghostnet_100")]
WITHOUT = ("convnext_atto", "vit_tiny_patch16_224", "nf_regnet_b0")
NORMS = nn.modules.batchnorm._BatchNorm


def built(name):
    torch.manual_seed(0)
    module = timm.create_model(name).eval()
    config = module.pretrained_cfg
    size = config["input_size"][-1] if config["fixed_input_size"] else 96
    return module, torch.randn(2, 3, size, size)


@torch.no_grad()
def train_like(module, images):
    """Gives each BatchNorm the statistics of `images`, and weights far from where they start."""
    for part in module.modules():
        if isinstance(part, NORMS):
            part.momentum = 0.5
            part.weight.uniform_(0.3, 1.7)
            part.bias.normal_(0, 0.3)
    module.train()
    for _ in range(2):
        module(images)
    module.eval()


def features(module, images):
    """As the ranking takes them."""
    maps = module.forward_features(images)
    return torch.cat([module.forward_head(maps, pre_logits=True).flatten(1), module(images)], 1)


def rms(x):
    return x.double().square().mean().sqrt().item()


@pytest.mark.parametrize(("name", "trained"), CASES)
@torch.no_grad()
def test_features_stay_the_same_to_rounding(name, trained):
    module, images = built(name)
    if trained:
        train_like(module, images)
    plain, truth = (
        features(copy.deepcopy(module).to(dtype), images.to(dtype))
        for dtype in (torch.float32, torch.float64)
    )
    before = sum(isinstance(part, NORMS) for part in module.modules())
    assert for_inference(module) is module
    after = sum(isinstance(part, NORMS) for part in module.modules())
    assert (before - after, before) == FOLDED[name]
    found = features(module, images)
    assert rms(found - truth) <= 2 * rms(plain - truth) + 1e-7 * rms(truth)
    assert (found - plain).abs().max() <= 1e-4 * plain.abs().max()


@pytest.mark.parametrize("name", WITHOUT)
@torch.no_grad()
def test_models_without_norms_compute_the_same(name):
    module, images = built(name)
    before = features(module, images)
    after = features(for_inference(module), images)
    assert (after - before).abs().max() <= 1e-5 * before.abs().max()


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "convnext_atto"])
@torch.no_grad()
def test_features_are_bit_equal_each_time(name):
    first, second = (for_inference(built(name)[0]) for _ in range(2))
    images = built(name)[1]
    assert torch.equal(features(first, images), features(second, images))
    assert torch.equal(features(first, images), features(first, images))


def network():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8)
    norm.running_mean.normal_()
    return nn.Sequential(nn.Conv2d(3, 8, 1), norm, nn.ReLU(), nn.Conv2d(8, 6, 3, groups=2))


@torch.no_grad()
def test_outputs_of_convolutions_are_channels_last():
    """Also behind a 1 x 1 kernel, whose own strides fit both orders, on images in the usual one."""
    images = torch.randn(2, 3, 9, 9)
    module = network().eval()
    before = module(images)
    for_inference(module, images)
    for end in (1, 4):
        assert module[:end](images).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module(images), before)


def test_a_module_that_trains_comes_back_in_eval_mode():
    module = network().train()
    for_inference(module, torch.randn(2, 3, 9, 9))
    assert not any(part.training for part in module.modules())
    assert isinstance(module[1], nn.Identity)


def test_nothing_is_done_without_an_input():
    module = network()
    state = {name: x.clone() for name, x in module.state_dict().items()}
    for_inference(module)
    assert isinstance(module[1], nn.BatchNorm2d)
    torch.testing.assert_close(dict(module.state_dict()), state, rtol=0, atol=0)
    assert module[3].weight.is_contiguous()


class Viewing(nn.Module):
    """Takes a view that there is of outputs in the usual order only."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.last(self.norm(self.conv(x))).view(-1, 7, 7)


def test_channels_last_is_left_where_the_module_needs_the_usual_order():
    module, images = Viewing().eval(), torch.randn(2, 3, 9, 9)
    before = module(images)
    for_inference(module, images)
    torch.testing.assert_close(module(images), before)
    assert isinstance(module.norm, nn.Identity)
    assert module.conv.weight.is_contiguous()


def test_a_single_convolution_stays_in_the_usual_order():
    module = for_inference(built("vit_tiny_patch16_224")[0])
    assert module.patch_embed.proj.weight.is_contiguous()


def test_errors_of_the_module_are_told():
    with pytest.raises(RuntimeError, match="channels"):
        for_inference(network(), torch.zeros(2, 5, 9, 9))


@pytest.mark.parametrize(("device", "size"), [("cpu", 32), ("cuda", 64), ("cuda:1", 64)])
def test_default_batch_size(device, size):
    assert default_batch_size(device) == default_batch_size(torch.device(device)) == size
