"""The samples of a ranking, block by block: read once for all models, within a memory budget."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, replace
from typing import Any

import torch

from hubfast.data.block import Block, ImageFraming
from hubfast.data.order import block_ends
from hubfast.data.reading import ORDINARY, Findings, Seen
from hubfast.data.target import TargetData
from hubfast.extraction.digests import (
    block_digest,
    digest_of,
    hashed_by_reading,
    sample_digests,
)
from hubfast.extraction.entry import EntryStore

LONGEST = 12  # blocks held at once however small they are: a model is soon loaded again


class UnreadableDataError(ValueError):
    """The samples themselves are at fault, and not a model."""


class Feed:
    """Blocks of the target data, read when the first model needs them.

    Args:
        data: The samples, in the order in which models see them.
        memory: Bytes that decoded and framed samples may take together, but for one block.
        max_unreadable: Share of all samples that may be unreadable.
        workers: Processes that read samples which are no image files.
        ahead: Read the next block while models run the present one.
        cache: Where it is kept what reading has shown; None for nowhere.
    """

    def __init__(
        self,
        data: TargetData,
        *,
        memory: int,
        max_unreadable: float,
        workers: int = 0,
        ahead: bool = False,
        cache: EntryStore | None = None,
    ):
        self.data, self.memory, self.max_unreadable = data, memory, max_unreadable
        self.ends = block_ends(len(data), data.clusters)
        self.findings = Findings()
        self.seconds = 0.0  # spent on reading
        self._starts = (0, *self.ends[:-1])
        self._blocks = [
            Block(data.subset(torch.arange(*ends, device="cpu")), workers)
            for ends in zip(self._starts, self.ends, strict=True)
        ]
        self._digests: dict[int, list[bytes]] = {}
        self._framings: Collection[ImageFraming] = ()
        self._room = float(memory)  # of decoded images that are kept
        self.hashed_by_reading = cache is not None and hashed_by_reading(data)
        self._cache = cache
        self._pool = ThreadPoolExecutor(1, "reading ahead") if ahead else None
        self._reading: dict[int, Future[None]] = {}
        self._told: set[int] = set()  # blocks whose findings are added
        self._until = len(self.ends)

    def __len__(self) -> int:
        return len(self.ends)

    def plan(self, start: int, stop: int, framings: Collection[ImageFraming], *, keep: bool) -> int:
        """Says what comes next: models that need these framings run blocks from `start` on.

        Args:
            start: The first block.
            stop: The block behind the last.
            framings: How these models frame images, as far as that is known.
            keep: Whether some of them need the decoded samples, or may.

        Returns:
            The block behind the last one that memory holds at once; at least `start + 1`.
        """
        distinct = {one.geometry: one for one in framings}
        self._framings, self._room = tuple(distinct.values()), self.memory if keep else 0.0
        known = [block for block in self._blocks if block.decoded_bytes]
        samples = sum(len(block) for block in known)
        decoded = sum(block.decoded_bytes for block in known) / samples if samples else 0.0
        framed = sum(math.prod(one.shape) for one in self._framings)
        if keep and decoded * self._length(start) > self.memory:
            self._room, decoded = 0.0, 0.0  # each model that needs them reads them again
        each = framed + (decoded if self._room else 0.0)
        end = start + 1
        stop = min(stop, start + LONGEST)
        while end < stop and (self.ends[end] - self._starts[start]) * each <= self.memory:
            end += 1
        self._until = end
        return end

    def known(self, index: int) -> Block:
        """The block, of which it is known which samples can be read.

        Raises:
            UnreadableDataError: Too many samples cannot be read, or all images are nearly black.
        """
        block = self._blocks[index]
        if index in self._told:
            return block
        if self.data.samples is None:  # stored features: nothing to read
            block.know([ORDINARY] * len(block.data), images=False)
        elif index not in self._reading and (facts := self._facts(index)) is not None:
            seen = [Seen(**one) if one else ORDINARY for one in facts["seen"]]
            block.know(seen, images=facts["images"])
            block.decoded_bytes = facts["decoded_bytes"]
        else:
            self._read(index)
        self._tell(index)
        return block

    def tells(self, index: int) -> bool:
        """Whether `known` needs no look at the samples, or a look here is the only one.

        Samples that are hashed by reading are read here, wherever models run.
        """
        if index in self._told or self.data.samples is None or self.hashed_by_reading:
            return True
        return self._facts(index) is not None

    def hashes(self, index: int) -> bool:
        """Whether the digest of a block needs no look at its samples, but for their bytes."""
        return not self.hashed_by_reading or index in self._told

    def ready(self, index: int, framing: ImageFraming | None) -> Block:
        """The block, with what a model of this framing needs; None for decoded samples."""
        block = self.known(index)
        if self.data.samples is not None and (index in self._reading or not block.holds(framing)):
            self._read(index)
        if self._pool is not None and index + 1 < self._until:
            following = self._blocks[index + 1]
            if index + 1 not in self._reading and not following.holds(framing):
                self._reading[index + 1] = self._pool.submit(
                    copy_context().run, self._read_block, following
                )
        return block

    @property
    def held_bytes(self) -> int:
        """Bytes of the samples that are held, decoded or framed."""
        reading = {self._blocks[index] for index in self._reading}
        return sum(block.held_bytes for block in self._blocks if block not in reading)

    def drop(self, start: int, stop: int) -> None:
        """Forgets the samples of blocks that no model needs any more."""
        for index in range(start, stop):
            if (reading := self._reading.pop(index, None)) is not None:
                reading.result()
            self._blocks[index].drop()

    def close(self) -> None:
        """Ends reading ahead."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def readable(self) -> TargetData:
        """The samples that can be read, as far as they were, in the order of the full data set.

        Its notes say what reading has shown.
        """
        known = [(self._starts[index], self._blocks[index]) for index in sorted(self._told)]
        rows = [torch.empty(0, dtype=torch.int64, device="cpu"), *(b.kept + at for at, b in known)]
        found = self.data.subset(torch.cat(rows))
        found = found.subset(found.rows().argsort())
        notes = self.findings.notes(self.data, self.max_unreadable)
        return replace(found, notes=(*found.notes, *notes))

    def digest(self, index: int) -> str:
        """What tells the very samples of the block, in their order, from any others."""
        if self.hashed_by_reading:
            return block_digest(self.digests(index))
        return block_digest(self._of_samples(index))

    def digests(self, index: int) -> list[bytes]:
        """What tells each sample of the block that can be read from any other."""
        block = self.known(index)
        if self.hashed_by_reading:
            return block.digests
        every = self._of_samples(index)
        return [every[position] for position in block.kept.tolist()]

    def _of_samples(self, index: int) -> list[bytes]:
        if index not in self._digests:
            started = time.perf_counter()
            data = self._blocks[index].data
            rows = torch.arange(len(data), device="cpu")
            hashes = None if self._cache is None else self._cache.hashes
            self._digests[index] = sample_digests(data, rows, hashes)
            self.seconds += time.perf_counter() - started
        return self._digests[index]

    def _read(self, index: int) -> None:
        block, started = self._blocks[index], time.perf_counter()
        if (reading := self._reading.pop(index, None)) is not None:
            reading.result()
        else:
            self._read_block(block)
        self.seconds += time.perf_counter() - started
        self._remember(index)

    def _read_block(self, block: Block) -> None:
        digest = digest_of if self.hashed_by_reading else None
        block.read(self._framings, room=self._room, digest=digest)

    def _tell(self, index: int) -> None:
        block = self._blocks[index]
        self._told.add(index)
        self.findings.add(block.data, block.seen or ())
        try:
            self.findings.check_bits(self.data.pixels.bits)
            self.findings.notes(self.data, self.max_unreadable)
        except ValueError as error:
            raise UnreadableDataError(str(error)) from None

    def _facts(self, index: int) -> Mapping[str, Any] | None:
        if self._cache is None or self.hashed_by_reading:
            return None
        found = self._cache.get(self._key(index))
        return None if found is None else found.facts

    def _remember(self, index: int) -> None:
        block = self._blocks[index]
        if self._cache is not None and not self.hashed_by_reading and index not in self._told:
            seen: Sequence[Seen] = block.seen or ()
            facts = {
                "seen": [{} if one is ORDINARY else asdict(one) for one in seen],
                "images": block.images,
                "decoded_bytes": block.decoded_bytes,
            }
            self._cache.put(self._key(index), {}, facts)

    def _key(self, index: int) -> dict[str, str]:
        return {"kind": "reading", "samples": self.digest(index)}

    def _length(self, index: int) -> int:
        return self.ends[index] - self._starts[index]
