"""What a whole Python process shares, left as it was."""

import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from threading import RLock
from typing import Any

import numpy as np
import torch


@contextmanager
def alone() -> Iterator[None]:
    """Lets one thread at a time in: others wait, as each may change what the process shares."""
    with _turns(os.getpid()):
        yield


@cache
def _turns(process: int) -> AbstractContextManager[object]:
    """One lock for each process: after a fork nobody waits for a thread of the parent's."""
    return RLock()


@contextmanager
def global_state_kept() -> Iterator[None]:
    """Restores what it found, also after an exception and Ctrl-C.

    These are the random states of torch (on every device in use), NumPy and Python; of torch the
    number of threads, whether gradients are on, the default dtype and device, whether algorithms
    are deterministic, how cuDNN chooses among them, whether gradients are looked at for NaN, and
    the precision of matrix products; what NumPy does about errors of floats; the standard streams
    and the folder that the process is in; and the filters of warnings, which packages change when
    they are first imported.
    """
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with warnings.catch_warnings(), np.errstate(), ExitStack() as held:
            for get, put in _SETTINGS:
                held.callback(_restore, get, put, get())
            yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)


def _restore(get: Callable[[], Any], put: Callable[[Any], object], before: Any) -> None:
    if get() != before:
        put(before)


def _put_device(device: torch.device) -> None:
    """Makes it the default; for the CPU there is then no default, which is cheaper."""
    torch.set_default_device(None if device.type == "cpu" else device)


def _deterministic() -> tuple[bool, bool]:
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warns


def _put_deterministic(state: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(state[0], warn_only=state[1])


def _precision() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # the user has set torch's newer `fp32_precision`, which it does not show
        return None


def _put_precision(precision: str | None) -> None:
    if precision is not None:
        torch.set_float32_matmul_precision(precision)


def _cudnn() -> tuple[bool, bool, bool]:
    flags = torch.backends.cudnn
    return flags.enabled, flags.benchmark, flags.deterministic


def _put_cudnn(state: tuple[bool, bool, bool]) -> None:
    flags = torch.backends.cudnn
    flags.enabled, flags.benchmark, flags.deterministic = state


def _streams() -> tuple[Any, Any]:
    return sys.stdout, sys.stderr


def _put_streams(streams: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = streams


def _folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was deleted
        return None


def _put_folder(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


# How each setting is read, and how it is set back.
_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, _put_device),
    (_deterministic, _put_deterministic),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (_precision, _put_precision),
    (_cudnn, _put_cudnn),
    (_streams, _put_streams),
    (_folder, _put_folder),
)
