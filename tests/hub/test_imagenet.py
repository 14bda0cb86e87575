"""ImageNet accuracies that are known of models."""

import pytest

from hubfast.hub import imagenet

pytestmark = pytest.mark.usefixtures("offline")


def test_imagenet_accuracies_that_torchvision_states():
    from torchvision.models import ResNet50_Weights

    for name, weights in {"tv": "IMAGENET1K_V1", "tv2": "IMAGENET1K_V2"}.items():
        stated = ResNet50_Weights[weights].meta["_metrics"]["ImageNet-1K"]["acc@1"]
        assert imagenet.of_timm(f"resnet50.{name}_in1k") == stated
    for unknown in ("resnet50.a1_in1k", "regnety_008_tv.tv2_in1k", "resnet50"):
        assert imagenet.of_timm(unknown) is None
    assert imagenet.of_torchvision("resnet50", "none") is None
