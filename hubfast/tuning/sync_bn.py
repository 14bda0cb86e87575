"""BatchNorm over the batch of all processes, while a method is trained."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hubfast.tuning.methods.stoch_norm import StochNorm
from hubfast.tuning.processes import Processes


@contextmanager
def synced_batch_norm(
    method: nn.Module, processes: Processes, device_type: str
) -> Iterator[nn.Module]:
    """While it is open, torch's SyncBatchNorm takes the place of each BatchNorm of `method`.

    The layers share their parameters; their running statistics are handed back at the end. In one
    process nothing changes.

    Args:
        method: What is trained, on its device already.
        processes: Those that train it.
        device_type: Type of the device that they train on.

    Raises:
        ValueError: The device is no GPU, or the method cannot have its batches normalised so.
    """
    if processes.world == 1:
        yield method
        return
    _check(method, device_type)
    from timm.layers import convert_sync_batchnorm  # slow to import; knows timm's BatchNormAct2d

    before = {name: m for name, m in method.named_modules() if isinstance(m, _BatchNorm)}
    for name, norm in before.items():
        synced = convert_sync_batchnorm(norm)
        synced.training = norm.training
        method.set_submodule(name, synced)
    try:
        yield method
    finally:
        for name, norm in before.items():
            synced = method.get_submodule(name)
            norm.load_state_dict(synced.state_dict())
            norm.train(synced.training)
            method.set_submodule(name, norm)


def _check(method: nn.Module, device_type: str) -> None:
    if device_type == "cpu":
        raise ValueError("sync_bn must be off on CPUs: torch has SyncBatchNorm for GPUs only")
    for part in method.modules():
        if isinstance(part, StochNorm):
            raise ValueError("sync_bn must be off for StochNorm, which normalises by itself")
        if getattr(part, "leaves_parameters_unused", False):
            raise ValueError(
                f"sync_bn must be off for {type(part).__name__}: its models run in some processes "
                "only, and would wait for each other for ever"
            )
