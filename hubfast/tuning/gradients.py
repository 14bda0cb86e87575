"""Training inside what records no gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def gradients_recorded(method: nn.Module | None = None) -> Iterator[None]:
    """Inside it gradients are recorded, whatever mode of torch the caller is in.

    Args:
        method: What will be trained.

    Raises:
        ValueError: `method` was made under `torch.inference_mode`, and cannot be trained.
    """
    for name, parameter in [] if method is None else method.named_parameters():
        if parameter.is_inference():
            raise ValueError(
                "method must be made outside torch.inference_mode to be trained, got the parameter "
                f"{name!r} made inside it"
            )
    with torch.inference_mode(False), torch.enable_grad():
        yield
