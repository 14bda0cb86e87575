"""Training samples of any kind, images or texts: what their data sets share, and their order."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from hubfast.data import TargetData
from hubfast.tuning.labels import TargetEncoder, aligned
from hubfast.utils.threads import worker_processes

Item = tuple[Any, Tensor, int]  # a sample, its target, its position
POOL = 16  # batches among which samples of like length are sorted together


class SampleDataset(Dataset):
    """Samples by `(epoch, position)`: the sample, its target, its position.

    Args:
        data: Target data with samples.
        labels: What the outputs stand for, as told from the training data.
    """

    lr: float  # the highest learning rate that models of such samples are usually tuned with
    augment: Any = None  # what changes samples from epoch to epoch; None: nothing does
    lengths: Sequence[int] | None = None  # of samples that differ in it, such as texts

    def __init__(self, data: TargetData, labels: TargetEncoder):
        self.data, self.labels = data, labels
        self.targets, self.notes = aligned(data, labels)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        raise NotImplementedError

    def batch(self, positions: Sequence[int]) -> Any:
        """The samples at `positions` as a model takes them, as in epoch 0."""
        raise NotImplementedError

    def collate(self, items: list[Item]) -> Any:
        """A batch of samples, their targets `(B,)` or `(B, C)`, their positions `(B,)`."""
        return default_collate(items)

    def errors_named(self, count: int) -> AbstractContextManager[object]:
        """While it is open, what a model says of a batch of `count` samples is said in words."""
        return nullcontext()


class BatchOrder(Sampler[list[tuple[int, int]]]):
    """Keys of a `SampleDataset` for every step from `first` on; an epoch holds every sample once.

    Args:
        count: How many samples there are.
        batch_size: About how many samples a batch of all processes holds; those of an epoch differ
            by one at most.
        epochs: How many times each sample comes.
        seed: Makes the order, together with the number of the epoch.
        first: Step to begin with.
        rank: Number of this process, which takes every `world`-th key of a batch from this one on.
        world: Number of processes.
        lengths: Of the samples: within every POOL batches of the random order, those of like
            length come together. None: the order is random throughout.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        epochs: int,
        seed: int,
        *,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
        lengths: Sequence[int] | None = None,
    ):
        self.count, self.epochs, self.seed, self.first = count, epochs, seed, first
        self.rank, self.world = rank, world
        self.lengths = None if lengths is None else torch.tensor(lengths, device="cpu")
        self.per_epoch = max(1, count // batch_size)
        if count // self.per_epoch < world:
            raise ValueError(f"batch_size must be at least {world}, one sample per process")

    def __len__(self) -> int:
        return self.epochs * self.per_epoch - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.first // self.per_epoch, self.epochs):
            skip = max(0, self.first - epoch * self.per_epoch)
            for batch in self._batches(epoch)[skip:]:
                yield [(epoch, int(p)) for p in batch[self.rank :: self.world]]

    def whole(self, step: int) -> Tensor:
        """Positions of all samples of a step, those of all processes: `(B,)` int64."""
        epoch, batch = divmod(step, self.per_epoch)
        return self._batches(epoch)[batch]

    def size(self, step: int) -> int:
        """How many samples the step has in all processes."""
        return self.count // self.per_epoch + (step % self.per_epoch < self.count % self.per_epoch)

    def _batches(self, epoch: int) -> list[Tensor]:
        generator = torch.Generator("cpu").manual_seed(seed_of(self.seed, epoch))
        order = torch.randperm(self.count, generator=generator, device="cpu")
        batches = list(order.tensor_split(self.per_epoch))
        if self.lengths is None:
            return batches
        found: list[Tensor] = []
        for start in range(0, len(batches), POOL):
            found += _of_like_length(batches[start : start + POOL], self.lengths, generator)
        return found


def _of_like_length(
    batches: Sequence[Tensor], lengths: Tensor, generator: torch.Generator
) -> list[Tensor]:
    """The samples of some batches dealt anew by length; each batch keeps its number of samples."""
    pool = torch.cat(list(batches))
    pool = pool[lengths[pool].sort(stable=True).indices]
    turns = torch.randperm(len(batches), generator=generator, device="cpu").tolist()
    parts = pool.split([len(batches[turn]) for turn in turns])
    dealt = dict(zip(turns, parts, strict=True))
    return [dealt[turn] for turn in range(len(batches))]


def loader(samples: SampleDataset, order: BatchOrder, workers: int, *, pinned: bool) -> DataLoader:
    """Batches of training samples in an order; its workers' seeds leave the global generator alone.

    Args:
        samples: Training data.
        order: Which samples come in which step.
        workers: Processes that prepare samples.
        pinned: Whether batches lie in pinned memory, for a GPU.
    """
    return DataLoader(
        samples,
        batch_sampler=order,
        collate_fn=samples.collate,
        num_workers=worker_processes(workers),
        pin_memory=pinned,
        generator=torch.Generator("cpu").manual_seed(order.seed),
    )


def seed_of(*parts: int) -> int:
    """One seed of several numbers, well mixed."""
    return int(np.random.SeedSequence([p & 0xFFFFFFFF for p in parts]).generate_state(1)[0])
