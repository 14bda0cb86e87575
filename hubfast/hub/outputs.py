"""What other frameworks' models take and return, as batches of features and logits."""

from collections.abc import Callable

import torch
from torch import Tensor


def pooled(x: Tensor, *, channels_last: bool = False) -> Tensor:
    """`x` as `(b, D)`: maps are averaged over their places, tokens over their positions.

    Args:
        x: `(b, D)`, `(b, tokens, D)`, or `(b, D, H, W)`, or `(b, H, W, D)` if `channels_last`.
        channels_last: Where maps have their channels.
    """
    if x.ndim == 4:
        return x.mean((1, 2) if channels_last else (2, 3))
    return x.mean(1) if x.ndim == 3 else x


def log_probabilities(out: Tensor) -> Tensor | None:
    """Logarithms of rows that are distributions; None for others, such as sigmoids of labels."""
    out = out.float()
    if bool((out.sum(1) - 1).abs().max() >= 1e-3):
        return None
    return out.clamp_min(torch.finfo(out.dtype).tiny).log()


def run_in_fixed_batches(
    run: Callable[[Tensor], list[Tensor]], inputs: Tensor, size: int | None
) -> list[Tensor]:
    """Runs a model that takes batches of exactly `size`; None for one that takes any.

    A last, smaller batch is filled with copies of its last sample, whose outputs are dropped.
    """
    if size is None:
        return run(inputs)
    parts = []
    for part in inputs.split(size):
        filling = part[-1:].expand(size - len(part), *part.shape[1:])
        parts.append([out[: len(part)] for out in run(torch.cat([part, filling]))])
    return [torch.cat(column) for column in zip(*parts, strict=True)]
