"""Keeps two thread pools from fighting over the same cores."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Runs torch on one thread: around LAPACK, and where BLAS calls alternate with torch ops.

    Idle OpenMP threads spin for a while, and a BLAS with threads of its own that starts
    meanwhile waits for them (2 cores: an update of statistics took 1.5 to 2 times as long).
    torch's own LAPACK was up to 44 times slower on two threads than on one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
