"""Runs a model over a block of samples."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from hubfast.data.block import Block
from hubfast.extraction.outputs import Outputs
from hubfast.extraction.points import PointFacts
from hubfast.hub.model import Extraction, Model
from hubfast.hub.points import only_last
from hubfast.utils.global_state import global_state_kept
from hubfast.utils.names import brief


@dataclass(frozen=True, eq=False)
class BlockRun:
    """What running a model over a block gave, by feature point, and what it took."""

    points: Mapping[str, Outputs]  # the first one alone has logits
    told: PointFacts
    prepare: float  # seconds
    forward: float  # seconds


def run_block(
    model: Model, block: Block, options: Extraction, seed: tuple[int, int]
) -> BlockRun | None:
    """Runs a model over a block; None where no sample of it can be read.

    Random numbers that a model draws depend on nothing but `seed`, that of the ranking and the
    number of the block; what it changes for the whole process is changed back.
    """
    if not len(block):
        return None
    options = replace(options, batch_size=min(options.batch_size, len(block)))
    with global_state_kept(), _seeded(seed):
        batches = list(model.batches(block, options))
    widths = sorted({batch.features.shape[1] for batch in batches})
    if len(widths) > 1:
        raise ValueError(f"features must have one width in all batches, got {brief(widths)}")
    columns = batches[0].columns or only_last(options.points, widths[0], batches[0].features.dtype)
    given = [batch.logits for batch in batches if batch.logits is not None]
    logits = torch.cat(given) if len(given) == len(batches) else None
    tally = dict(getattr(model, "tally", {}))
    parts = [batch.features.split(columns.widths, 1) for batch in batches]
    points = {
        str(point): Outputs(
            torch.cat([part[i] for part in parts]).to(columns.dtypes[i]),
            None if i else logits,
            logits is not None,
            tally,
        )
        for i, point in enumerate(columns.points)
    }
    told = PointFacts((*points,), columns.layers, columns.notes)
    prepare = sum(batch.prepare_seconds for batch in batches)
    return BlockRun(points, told, prepare, sum(batch.forward.seconds for batch in batches))


@contextmanager
def _seeded(numbers: tuple[int, int]) -> Iterator[None]:
    """Starts the random numbers of torch, NumPy and Python; the caller restores them."""
    seed = (numbers[0] * 1_000_003 + numbers[1]) % 2**32
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    yield
