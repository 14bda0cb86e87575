"""What is installed and active here, and why."""

import importlib.metadata
import os
import platform

import torch
from threadpoolctl import threadpool_info

from hubfast.ops.backends import missing
from hubfast.ops.evidence import cuda
from hubfast.ops.linalg import cusolver

PACKAGES = ("torch", "triton", "numpy", "scipy", "timm", "scikit-learn")
OPTIONAL = ("transformers", "onnxruntime", "keras", "tensorflow", "datasets", "pyarrow")


def info() -> dict[str, str]:
    """Gives label and text of each fact, in the order to print."""
    facts = {
        "hubfast": importlib.metadata.version("hubfast"),
        "python": f"{platform.python_version()} on {platform.platform()}",
    }
    for name in (*PACKAGES, *OPTIONAL):
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            facts[name] = "not installed"
    facts["native core"] = _state("native", "LogME on the CPU")
    facts["cuda core"] = _cuda_core()
    use = "Zoo-Tuning, Hub-Pathway and evidence on the GPU"
    facts["triton kernels"] = _state("triton", use if _gpu() else "but idle without a GPU")
    facts["cusolver"] = _cusolver()
    facts["cuda"] = torch.cuda.get_device_name() if _gpu() else "no GPU"
    facts["lapack"] = "SciPy's for spectra on the CPU, torch's on the GPU"
    facts["cores"] = f"{os.cpu_count()}, torch uses {torch.get_num_threads()} threads"
    for pool in threadpool_info():
        name = f"{pool['internal_api']} {pool.get('version') or ''}".strip()
        facts[f"pool {pool['prefix']}"] = f"{name}, {pool['num_threads']} threads"
    return facts


def _cuda_core() -> str:
    """Whether the CUDA core is built, for what, and whether a GPU can run it."""
    why = missing("cuda")
    if why is not None:
        return f"not built: {why}"
    use = "evidence search on request" if _gpu() else "inactive without a GPU"
    return f"built for {', '.join(cuda.architectures())}: {use}"


def _cusolver() -> str:
    try:
        cusolver.load()
    except OSError as error:
        return f"none: {error}"
    return "loads: spectra side by side and as batches, on request"


def _gpu() -> bool:
    return torch.cuda.is_available()


def _state(backend: str, use: str) -> str:
    why = missing(backend)
    return f"active: {use}" if why is None else f"inactive, torch is used instead: {why}"
