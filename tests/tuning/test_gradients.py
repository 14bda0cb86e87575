"""Tuning and ranking inside modes of torch that record no gradients."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hubfast import rank, tune
from hubfast.tuning import Recipe, Trainer
from hubfast.tuning.gradients import gradients_recorded

HUB = ["minihub:resnet_digits", "minihub:slim_letters"]


@pytest.fixture(scope="module")
def data():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
    return [Image.fromarray(each) for each in pixels], np.arange(24) % 3


def made(data):
    """Scores of a ranking, and the weights and logits of a tuned model."""
    ranking = rank(HUB, data, progress=False, cache=False)
    trainer = Trainer(Recipe(epochs=1), progress=False, accelerator="cpu")
    tuned = tune(HUB, data, method="b-tuning", top=2, trainer=trainer, validation=0.25)
    weights = dict(tuned.module.named_parameters())
    assert not any(each.is_inference() for each in weights.values())
    scores = {model.name: model.score for model in ranking}
    return scores, weights, tuned.evaluations["validation"].logits


def test_modes_change_nothing(data):
    scores, weights, logits = made(data)
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            again, tuned, found = made(data)
        assert again == scores
        assert torch.equal(found, logits)
        for name, parameter in weights.items():
            assert torch.equal(parameter, tuned[name]), name


def test_a_method_made_in_inference_mode_is_refused():
    with torch.inference_mode():
        made_inside = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"made outside torch.inference_mode .* 'weight'"):
        gradients_recorded(made_inside).__enter__()
    with torch.inference_mode(), gradients_recorded():
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    with torch.no_grad(), gradients_recorded():
        assert torch.is_grad_enabled()
