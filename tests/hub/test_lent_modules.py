"""A user's module comes back as it was, and the process is left as it was."""

import random
import warnings

import numpy as np
import pytest
import torch
from lent_modules import body, run
from torch import nn

from hubfast import as_source, as_target_data, rank
from hubfast.hub import Extraction
from hubfast.nn.hooks import on_device


def training_with_frozen_norm():
    model = nn.Sequential(body(), nn.Dropout(), nn.Flatten()).train()
    model[0][1].eval()
    return model


class Interrupting(nn.Module):
    """Raises in its second batch."""

    def __init__(self, error):
        super().__init__()
        self.inner, self.error, self.calls = training_with_frozen_norm(), error, 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 1:
            raise self.error
        return self.inner(x)


def modes(model):
    return [part.training for part in model.modules()]


class TestModes:
    @pytest.mark.parametrize("error", [None, ValueError("no"), KeyboardInterrupt()], ids=repr)
    def test_come_back(self, tensors, error):
        model = training_with_frozen_norm() if error is None else Interrupting(error)
        before = modes(model)
        found = rank({"model": model}, tensors, batch_size=4, progress=False)
        assert modes(model) == before
        assert bool(found.failed) == (error is not None)

    def test_come_back_where_scores_fail(self, tensors):
        class Bad(nn.Module):
            def forward(self, x):
                return x.flatten(1) * float("nan")

        model = Bad().train()
        assert rank({"bad": model}, tensors, progress=False).failed
        assert model.training

    def test_come_back_where_a_batch_is_not_used_up(self, tensors):
        model = training_with_frozen_norm()
        before = modes(model)
        batches = as_source(model).load().batches(as_target_data(tensors), Extraction(batch_size=2))
        next(batches)
        assert not any(modes(model))
        batches.close()
        assert modes(model) == before

    def test_what_a_module_keeps_can_be_trained(self, tensors):
        model = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten())
        rank({"lazy": model}, tensors, progress=False)
        model(tensors[0]).sum().backward()
        assert model[0].weight.grad is not None


class TestDevices:
    def test_weights_are_the_same_objects_afterwards(self):
        model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        model(torch.rand(4, 2)).sum().backward()
        before = [*model.parameters(), *model.buffers()]
        data = [x.data_ptr() for x in before]
        grads = [p.grad for p in model.parameters()]
        with on_device(model, "meta"):
            assert {x.device.type for x in model.state_dict().values()} == {"meta"}
        after = [*model.parameters(), *model.buffers()]
        assert all(a is b for a, b in zip(after, before, strict=True))
        assert [x.data_ptr() for x in after] == data
        assert all(p.grad is g for p, g in zip(model.parameters(), grads, strict=True))

    def test_on_its_own_device_nothing_is_moved(self):
        class Fixed(nn.Linear):
            def to(self, *args, **options):
                raise ValueError("`.to` is not supported for 8-bit models")

        with on_device(Fixed(2, 2), "cpu"):
            pass


class TestGlobalState:
    def test_is_kept(self, tensors):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
        model, state = body(), torch.get_rng_state()
        numbers = np.random.get_state()[1].copy()  # noqa: NPY002
        others = random.getstate()
        threads, filters = torch.get_num_threads(), list(warnings.filters)

        def noisy(batch):
            random.random()
            np.random.rand()  # noqa: NPY002
            torch.set_num_threads(1 if threads > 1 else 2)
            torch.set_grad_enabled(False)
            warnings.simplefilter("ignore", ResourceWarning)
            return batch.flatten(1) + torch.rand(1)

        rank([noisy, model], tensors, progress=False)
        assert torch.equal(torch.get_rng_state(), state)
        assert np.array_equal(np.random.get_state()[1], numbers)  # noqa: NPY002
        assert random.getstate() == others
        assert torch.get_num_threads() == threads
        assert torch.is_grad_enabled()
        assert warnings.filters == filters

    def test_batches_alone_draw_nothing(self, tensors):
        model = body()
        state = torch.get_rng_state()
        run(model, tensors[0])
        assert torch.equal(torch.get_rng_state(), state)
