"""BatchNorm over all processes: what takes its place, what comes back, and what is refused."""

import pytest
import tiny
import torch
from pathways import small_hub
from timm.layers import BatchNormAct2d
from torch import nn

from hubfast.tuning import stoch_norm
from hubfast.tuning.processes import ALONE, Processes
from hubfast.tuning.sync_bn import synced_batch_norm

TWO = Processes(0, 2)


def network():
    return nn.Sequential(tiny.model(), nn.ModuleDict({"act": BatchNormAct2d(4).eval()}))


def test_layers_are_replaced_while_training_and_come_back_with_what_they_learnt():
    method = network()
    before = dict(method.named_modules())
    own = {name: id(p) for name, p in method.named_parameters()}
    names = list(method.state_dict())
    with synced_batch_norm(method, TWO, "cuda") as synced:
        assert synced is method
        found = [m for m in method.modules() if isinstance(m, nn.SyncBatchNorm)]
        assert [m.training for m in found] == [True, False]
        assert {name: id(p) for name, p in method.named_parameters()} == own
        assert list(method.state_dict()) == names  # checkpoints are those of one process
        found[0].running_mean = torch.arange(6.0)  # as moving to a device replaces it
        method.eval()
    assert dict(method.named_modules()) == before
    norm = method[0].model.norm
    assert type(norm) is nn.BatchNorm2d
    assert torch.equal(norm.running_mean, torch.arange(6.0))
    assert not norm.training


def test_one_process_keeps_its_layers():
    method = network()
    with synced_batch_norm(method, ALONE, "cpu"):
        assert not any(isinstance(m, nn.SyncBatchNorm) for m in method.modules())


@pytest.mark.parametrize(
    ("method", "device", "message"),
    [
        (network, "cpu", "sync_bn must be off on CPUs"),
        (lambda: stoch_norm(tiny.model()), "cuda", "sync_bn must be off for StochNorm"),
        (lambda: nn.ModuleList([small_hub()]), "cuda", "sync_bn must be off for HubPathway"),
    ],
)
def test_what_cannot_be_synchronised_is_refused(method, device, message):
    method = method()
    before = dict(method.named_modules())
    with pytest.raises(ValueError, match=message), synced_batch_norm(method, TWO, device):
        pass
    assert dict(method.named_modules()) == before
