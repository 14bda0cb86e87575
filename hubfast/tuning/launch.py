"""Which processes train: those that torchrun or a user started, or those that are started here."""

import os
from typing import TYPE_CHECKING, Any

from torch import cuda, distributed

from hubfast.utils.names import brief
from hubfast.utils.threads import WORKERS_PER_CORE, cores

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import ClusterEnvironment

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def process_options(accelerator: str, devices: int | str) -> dict[str, Any]:
    """Arguments of Fabric: devices of this machine, machines, and who they are.

    Processes are there already in an initialised process group, and where the environment holds
    what torchrun sets. Each of them then trains on one device: the first takes the first GPU of its
    machine, or the first that `devices` lists. Else one is to be started for each of `devices`.

    Raises:
        ValueError: `devices` differs from the processes that are there, or these are more than
            the GPUs of this machine; or `devices` are more than it bears.
    """
    world = _processes_there()
    if world <= 1:
        most = max(cuda.device_count(), WORKERS_PER_CORE * cores())
        if str(devices).isdecimal() and int(devices) > most:
            raise ValueError(
                f"devices must be at most {most} on this machine, got {brief(devices)}"
            )
        return {"devices": devices}
    local = _from_environment("LOCAL_WORLD_SIZE", world)
    if devices in (1, "1", "auto"):
        devices = local
    elif str(devices).isdecimal() and int(devices) != local:
        raise ValueError(
            f"devices must be left out where processes are there already, {local} on this machine, "
            f"got {devices}"
        )
    gpus = cuda.device_count() if accelerator in ("auto", "cuda", "gpu") else 0
    if gpus and local > gpus:
        raise ValueError(
            f"device must be cpu, or the processes on this machine at most {gpus}, one for each "
            f"GPU, got {local} processes"
        )
    environment: Any = _environment(local)
    return {"devices": devices, "num_nodes": world // local, "plugins": [environment]}


def are_missing(fabric: "Fabric") -> bool:
    """Whether the processes of a Fabric of several are to be started.

    Fabric could start them, but would kill this process without a word, whatever it does by then,
    five seconds after one of them failed.

    Raises:
        ValueError: The strategy forks or spawns processes, which cannot be made to call what has
            called the Trainer. In a notebook Fabric takes no other.
    """
    if getattr(fabric.strategy, "_start_method", "popen") != "popen":
        raise ValueError(
            "strategy must be one for processes that are programs, such as ddp, and not one that "
            "forks or spawns them; in a notebook devices must be 1"
        )
    environment = getattr(fabric.strategy, "cluster_environment", None)
    return environment is not None and not environment.creates_processes_externally


def _processes_there() -> int:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in TORCHRUN) else 1


def _from_environment(name: str, otherwise: int) -> int:
    return int(os.environ.get(name, otherwise))


def _environment(local: int) -> "ClusterEnvironment":
    from lightning_fabric.plugins.environments import TorchElasticEnvironment  # slow to import

    if not distributed.is_initialized():
        return TorchElasticEnvironment()

    class JoinedEnvironment(TorchElasticEnvironment):
        """The default process group, whoever made it."""

        def world_size(self) -> int:
            return distributed.get_world_size()

        def global_rank(self) -> int:
            return distributed.get_rank()

        def local_rank(self) -> int:
            return _from_environment("LOCAL_RANK", distributed.get_rank() % local)

        def node_rank(self) -> int:
            return distributed.get_rank() // local

    return JoinedEnvironment()
