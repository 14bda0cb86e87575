import os
from tempfile import TemporaryDirectory

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels then run on the CPU


os.environ.setdefault("KERAS_BACKEND", "torch")
# What is kept from run to run stays out of the user's own cache; `make test` begins with none.
_CACHE = TemporaryDirectory(prefix="hubfast-tests-")
os.environ["HUBFAST_CACHE"] = _CACHE.name


@pytest.fixture(autouse=True)
def reproducible() -> None:
    torch.manual_seed(0)
    # Fills torch.empty with NaN, so an output that nobody wrote fails its test.
    torch.use_deterministic_algorithms(True, warn_only=True)


@pytest.fixture
def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
