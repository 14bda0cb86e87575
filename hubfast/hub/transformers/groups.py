"""Running a model over rows of tokens, those of one number together, so that none is padded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hubfast.hub.memory import within_memory
from hubfast.hub.model import Extraction
from hubfast.hub.network import in_precision
from hubfast.hub.taps import Taps
from hubfast.hub.transformers.encoding import Shared
from hubfast.hub.transformers.features import Outputs
from hubfast.hub.transformers.tokens import Ids
from hubfast.utils.stopwatch import Stopwatch

Run = Callable[[dict[str, Tensor]], Outputs]


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass of a model over some texts.

    Args:
        options: How it is run.
        shared: Keeps what a tokenizer makes of these very texts for other models; None: not.
        prepare: Times reading and tokens.
        forward: Times the model.
        taps: Gives the feature points that are asked for; None for the usual one.
    """

    options: Extraction
    shared: Shared | None
    prepare: Stopwatch
    forward: Stopwatch
    taps: Taps | None = None

    def of_side(self, side: int) -> "Pass":
        """The same over the first or the second texts of pairs, whose tokens are others."""
        shared = self.shared
        if shared is None:
            return self
        return replace(self, shared=lambda key, make: shared((side, key), make))


def run_groups(
    rows: Sequence[Ids], run: Run, end: int | None, options: Extraction
) -> Iterator[tuple[list[int], Outputs]]:
    """Yields what a model gives for each group of rows, and the positions of these.

    Args:
        rows: The rows.
        run: Maps a batch of rows to what the model gives, for each row by itself.
        end: The token that ends a text, of which BART needs rows to have equal numbers; None for
            none.
        options: How the model is run.
    """
    for group in alike(rows, end, options.batch_size):
        inputs = {
            key: torch.from_numpy(np.array([rows[i][key] for i in group], dtype=np.int64))
            for key in rows[group[0]]
        }
        moved = {key: ids.to(options.device) for key, ids in inputs.items()}
        with torch.inference_mode(), in_precision(options):
            yield group, within_memory(run, moved)


def alike(rows: Sequence[Ids], end: int | None, most: int) -> Iterator[list[int]]:
    """Yields positions of rows with equal numbers of tokens and of end tokens, short ones first.

    Args:
        rows: The rows.
        end: The token that ends a text; None for none.
        most: How many positions are given at once.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for position, row in enumerate(rows):
        ids = row["input_ids"]
        groups.setdefault((len(ids), ids.count(end) if end is not None else 0), []).append(position)
    for _, group in sorted(groups.items()):
        yield from (group[i : i + most] for i in range(0, len(group), most))
