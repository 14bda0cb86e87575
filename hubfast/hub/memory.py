"""Batches too large for memory, in parts."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Outputs = tuple[Tensor, Tensor | None]


def within_memory(run: Callable[[Any], Outputs], inputs: Any) -> Outputs:
    """Runs `run(inputs)`, or halves of the batch one after the other if memory is too small.

    Args:
        run: Maps a batch to features and maybe logits, each sample for itself.
        inputs: A tensor, a list or a mapping of these, samples first.

    Raises:
        torch.OutOfMemoryError, RuntimeError: Memory is too small even for one sample.
    """
    try:
        return run(inputs)
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        samples = _length(inputs)
        if not _out_of_memory(error) or samples < 2:
            raise
    # This is past the except clause, since the error holds the frames that hold the memory.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = samples // 2
    warnings.warn(
        f"out of memory with {samples} samples in a batch: going on with {half}; "
        f"batch_size={half} saves the time of trying",
        stacklevel=2,
    )
    parts = (_part(inputs, 0, half), _part(inputs, half, samples))
    first, second = (within_memory(run, part) for part in parts)
    logits = None if first[1] is None or second[1] is None else torch.cat([first[1], second[1]])
    return torch.cat([first[0], second[0]]), logits


def _part(inputs: Any, start: int, stop: int) -> Any:
    if isinstance(inputs, Mapping):
        return {key: _part(value, start, stop) for key, value in inputs.items()}
    return inputs[start:stop]


def _length(inputs: Any) -> int:
    if isinstance(inputs, Mapping):
        return min((_length(value) for value in inputs.values()), default=0)
    return len(inputs) if isinstance(inputs, Tensor | list) else 1


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
