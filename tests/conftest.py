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


def pytest_configure(config: pytest.Config) -> None:
    """Lets one warning of Triton 3.6's interpreter pass; later ones do not give it.

    NumPy from 1.25 on gives it for each loop whose bounds are not constants. The values are right.
    """
    config.addinivalue_line(
        "filterwarnings",
        "ignore:Conversion of an array with ndim > 0 to a scalar"
        ":DeprecationWarning:triton.runtime.interpreter",
    )


@pytest.fixture(autouse=True)
def reproducible() -> None:
    torch.manual_seed(0)
    # Fills torch.empty with NaN, so an output that nobody wrote fails its test.
    torch.use_deterministic_algorithms(True, warn_only=True)


@pytest.fixture
def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
