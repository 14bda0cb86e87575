"""What a whole Python process shares, left as it was."""

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def global_state_kept() -> Iterator[None]:
    """Restores what it found, also after an exception and Ctrl-C.

    These are the random states of torch (on every device in use), NumPy and Python, torch's number
    of threads, whether gradients are on, and the filters of warnings, which packages change when
    they are first imported.
    """
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    threads, gradients = torch.get_num_threads(), torch.is_grad_enabled()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        torch.set_grad_enabled(gradients)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)
