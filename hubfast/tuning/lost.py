"""A process of a training that ended before its time: how that is noticed, and what is said."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch import distributed

WORDS = re.compile(  # what gloo, NCCL and their store say when a process is gone
    r"gloo|nccl|connection (closed|reset|refused)|broken pipe|socket", re.IGNORECASE
)


class ProcessLost(RuntimeError):
    """Another process of the training ended before its time."""


@contextmanager
def lost_named() -> Iterator[None]:
    """While it is open, what gloo and NCCL say of a process that is gone is said in words.

    Raises:
        ProcessLost: A process did not answer.
    """
    try:
        yield
    except RuntimeError as error:
        own = isinstance(error, ProcessLost)
        if own or not (isinstance(error, distributed.DistError) or WORDS.search(str(error))):
            raise
        raise ProcessLost(
            "another process of this training ended, or cannot be reached; its own message, or the "
            "summary of what started it, says why"
        ) from error
