"""Zoo-Tuning says where its models have no common ancestor, and only there."""

import pytest
import torch

from hubfast.hub import as_source
from hubfast.minihub import load
from hubfast.tuning import TuningContext, build
from hubfast.tuning.finish import finished
from tests.helpers import tiny


def further(model):
    """The model after a little more training, as far as its weights tell."""
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * value.abs().mean() * torch.randn_like(value))
    return model


def zoo(method, **models):
    images, labels = tiny.pictures()
    sources = [as_source(model, name=name) for name, model in models.items()]
    return build(method, TuningContext(sources, images, labels, 10), lambda module: None), images


@pytest.mark.parametrize("method", ["zoo", "zoo-lite"])
def test_models_that_were_trained_apart_are_named(method):
    apart, images = zoo(method, letters=load("resnet_letters"), noise=load("resnet_noise"))
    (note,) = apart.notes
    assert note.startswith("noise and letters seem to have no common ancestor")
    assert finished(apart, images, 8).notes == apart.notes
    kin, _ = zoo(method, letters=load("resnet_letters"), more=further(load("resnet_letters")))
    assert kin.notes == ()
