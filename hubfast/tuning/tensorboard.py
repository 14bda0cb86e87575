"""Live metrics of a run for TensorBoard."""

from pathlib import Path
from typing import Any


def summary_writer(folder: Path, first: int) -> Any:
    """A `SummaryWriter` that goes on from step `first`.

    Raises:
        ValueError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("tensorboard needs the package: pip install tensorboard") from error
    return SummaryWriter(str(folder), purge_step=first)
