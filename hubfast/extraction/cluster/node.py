"""What a worker finds out about the machine that it is on."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hubfast.data import TargetData
from hubfast.data.images import ImageFiles
from hubfast.extraction.cluster.messages import WorkerSetup
from hubfast.hub.identity import versions
from hubfast.hub.model import Source
from hubfast.utils.user_cache import user_cache

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

COUNTING = ("hubfast", "torch", "torchvision", "timm", "transformers", "pillow")
FETCHED = ("timm", "hf", "torchhub", "tfhub")  # kinds of models that may come from a network


def counting_versions() -> dict[str, str]:
    """Versions of what computes outputs, which must be the same on all machines."""
    return versions(*COUNTING)


def files_of(data: TargetData) -> tuple[str, ...]:
    """The first and the last file of the samples, which every machine must see; none for others."""
    samples = data.samples
    if not isinstance(samples, ImageFiles) or not len(samples.images):
        return ()
    ends = (samples.images[0], samples.images[len(samples.images) - 1])
    paths = [Path(image) for image in ends if isinstance(image, str | Path)]
    folder = samples.folder
    whole = [path if folder is None else Path(folder) / path for path in paths]
    return tuple(dict.fromkeys(str(path) for path in whole if path.exists()))


def holds(folder: str, token: str) -> bool:
    """Whether a folder is the very one that the driver made: it holds the file that it wrote."""
    return (Path(folder) / token).is_file()


def problem_of(setup: WorkerSetup, data: TargetData) -> str:
    """Why nothing can be computed on this machine; empty where it can be."""
    ours = counting_versions()
    others = [
        f"{name} {ours.get(name, 'missing')} instead of {version}"
        for name, version in setup.versions.items()
        if ours.get(name) != version
    ]
    if others:
        return f"it has {', '.join(others)}"
    for path in setup.files:
        if not os.path.exists(path):
            return f"it does not see {path}: data must be under the same path on every machine"
    if setup.options.device == "cuda" and not torch.cuda.is_available():
        return "torch sees no GPU there"
    return ""


def node_address() -> str:
    """The address of this machine, as Ray knows it."""
    import ray

    address: str = ray.util.get_node_ip_address()
    return address


def poisons(fault: BaseException) -> bool:
    """Whether a process can compute nothing more after a fault: CUDA keeps its first error."""
    if isinstance(fault, torch.OutOfMemoryError):
        return False
    accelerator = getattr(torch, "AcceleratorError", ())
    text = str(fault)
    said = any(word in text for word in ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "HIP error"))
    return isinstance(fault, accelerator) or (isinstance(fault, RuntimeError) and said)


@contextmanager
def download_lock(source: Source, identity: Mapping[str, Any] | None) -> Iterator[None]:
    """Lets one process of this machine at a time load a model whose files may not be here yet.

    The lock is a file of the user's cache; the system gives it back when its process ends.
    """
    if fcntl is None or identity is not None or source.kind not in FETCHED:
        yield
        return
    folder = user_cache("loading")
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(str(source.given).encode()).hexdigest()[:32]
    with (folder / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
