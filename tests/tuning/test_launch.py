"""Which processes are joined, told from what torchrun sets, and what is refused."""

import pytest
from lightning_fabric.plugins.environments import TorchElasticEnvironment
from torch import cuda

from hubfast.tuning.launch import TORCHRUN, process_options


@pytest.fixture
def torchrun(monkeypatch):
    """As the sixth of eight processes on two machines."""
    values = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    values |= {"GROUP_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29400"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("devices", [1, "1", "auto", 4, "4"])
def test_torchrun_says_how_many_devices_and_machines(torchrun, devices):
    found = process_options("cpu", devices)
    (environment,) = found.pop("plugins")
    assert found == {"devices": found["devices"], "num_nodes": 2}
    assert str(found["devices"]) == "4"
    assert isinstance(environment, TorchElasticEnvironment)
    assert (environment.global_rank(), environment.world_size()) == (5, 8)
    assert (environment.local_rank(), environment.node_rank()) == (1, 1)


def test_a_list_of_gpus_stays(torchrun):
    assert process_options("cpu", "4,5,6,7")["devices"] == "4,5,6,7"


def test_without_torchrun_the_devices_are_as_given(torchrun, monkeypatch):
    for name in TORCHRUN:
        with monkeypatch.context() as without:
            without.delenv(name)
            assert process_options("cpu", 3) == {"devices": 3}
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert process_options("cpu", 1) == {"devices": 1}


def test_what_does_not_fit_is_refused(torchrun, monkeypatch):
    with pytest.raises(ValueError, match=r"devices must be left out .* 4 on this machine, got 2"):
        process_options("cpu", 2)
    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"device must be cpu, or .* at most 2, .* got 4 processe"):
        process_options("auto", 1)
