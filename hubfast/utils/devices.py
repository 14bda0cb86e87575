"""Devices by the names that people give: which are there, and what is wrong with the others."""

import torch

USABLE = ("cpu", "cuda", "mps", "xpu")


def find_device(device: str | None) -> str:
    """The device to compute on.

    Args:
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`; None for a GPU where there is one.

    Raises:
        ValueError: torch has no such device, or this machine.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(_wanted(device)) from None
    if found.type not in USABLE:
        raise ValueError(_wanted(device))
    if found.type == "cpu":
        return "cpu"
    count = _count(found.type)
    if not count:
        raise ValueError(f"device {device!r} is not there: torch sees no {_kind(found.type)}")
    if found.index is not None and found.index >= count:
        raise ValueError(f"device {device!r} is not there: torch sees {count} of this kind")
    return device


def _count(kind: str) -> int:
    """How many devices of a kind there are."""
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return getattr(torch, kind).device_count() if getattr(torch, kind).is_available() else 0


def _kind(kind: str) -> str:
    return "GPU" if kind == "cuda" else f"{kind} device"


def _wanted(device: object) -> str:
    return f"device must be cpu, cuda, cuda:1 or another device of torch, got {device!r}"
