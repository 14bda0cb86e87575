"""torch's own default device and dtype, whatever the user has set for the whole process."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def usual_defaults() -> Iterator[None]:
    """Makes new tensors float32 on the CPU while other people's code builds a model.

    Under a default of half precision, weights from a file would be rounded as they are loaded;
    under the meta device they would be lost without a word.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(before)
