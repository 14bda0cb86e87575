"""Modules come back in the modes that they came in."""

import pytest
import torch
from torch import nn

from hubfast.nn.hooks import eval_mode


class Merging(nn.Linear):
    """Adds an update to its weights in eval mode and takes it off in training, as LoRA may."""

    merged = False

    def train(self, mode=True):
        if mode == self.merged:
            with torch.no_grad():
                self.weight.add_(-1.0 if mode else 1.0)
            self.merged = not mode
        return super().train(mode)


class AlwaysFrozen(nn.Sequential):
    def train(self, mode=True):
        return super().train(False)


def network():
    """In training mode, with frozen parts: a BatchNorm, and a Dropout inside of a frozen part."""
    frozen = AlwaysFrozen(nn.Dropout(), nn.Sequential(nn.Dropout())).train()
    model = nn.Sequential(nn.BatchNorm1d(3), frozen, Merging(3, 3), nn.Sequential(nn.Dropout()))
    model.train()
    model[0].eval()
    frozen[1][0].train()
    return model


def modes(model):
    return {name: part.training for name, part in model.named_modules()}


class TestEvalMode:
    @pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
    @pytest.mark.parametrize("training", [True, False])
    def test_every_part_gets_its_own_mode_back(self, error, training):
        model = network()
        if not training:  # of the whole, with a part in training
            model.eval()
            model[3].train()
        before, weight = modes(model), model[2].weight.clone()
        try:
            with eval_mode(model):
                assert not any(modes(model).values())
                torch.testing.assert_close(model[2].weight, weight + training)
                if error is not None:
                    raise error
        except (ValueError, KeyboardInterrupt):
            pass
        assert modes(model) == before
        torch.testing.assert_close(model[2].weight, weight)

    def test_several_modules_that_share_one(self):
        shared = nn.Dropout()
        models = [nn.Sequential(shared), nn.Sequential(nn.Dropout(), shared)]
        shared.eval()
        with eval_mode(*models):
            assert not models[1][0].training
        assert [modes(m) for m in models] == [
            {"": True, "0": False},
            {"": True, "0": True, "1": False},
        ]
