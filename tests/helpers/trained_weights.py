"""A small trained model, for tests of checkpoints."""

import functools

import timm
import torch

from hubfast.hub import timm_models

NAME = "test_resnet"


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
