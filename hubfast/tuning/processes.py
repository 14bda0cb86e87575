"""The processes that tune together: what each does alone, and what they tell each other."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from hubfast.tuning.companions import companions
from hubfast.tuning.lost import lost_named

T = TypeVar("T")
LONG = timedelta(days=365)  # a ranking may take longer than any usual time limit


class FirstProcessFailed(Exception):
    """The cause of an exception that is raised here because the first process raised it."""


@dataclass(frozen=True)
class Processes:
    """The processes that tune together; every process calls the same methods in the same order.

    Args:
        rank: Number of this process.
        world: How many there are.
        group: The gloo group in which they wait for each other without a time limit; None if
            there is one process.
    """

    rank: int = 0
    world: int = 1
    group: Any = None

    @classmethod
    @contextmanager
    def joined(cls) -> Iterator["Processes"]:
        """The processes of torch's default process group; one where there is no such group.

        Raises:
            ProcessLost: Another process ended while this one was inside.
        """
        there = distributed.is_available() and distributed.is_initialized()
        if not there or distributed.get_world_size() == 1:
            yield cls()
            return
        with lost_named(), companions().watched():
            group: Any = distributed.new_group(backend="gloo", timeout=LONG)
            distributed.barrier(group)  # none leaves the group while another still connects
            yield cls(distributed.get_rank(), distributed.get_world_size(), group)
            distributed.destroy_process_group(group)

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def alone(self, work: Callable[[], T]) -> T:
        """What `work` gives in the first process, which runs it while the others wait.

        Raises:
            Exception: What `work` raised, in all processes; in the others its cause is
                FirstProcessFailed.
        """
        return self._told(work) if self.world > 1 else work()

    def in_turn(self, work: Callable[[], T]) -> T:
        """What `work` gives in this process, which runs it after the first process did.

        For work that fills a cache on the disk.

        Raises:
            Exception: What `work` raised; what it raised in the first process, in all.
        """
        if self.world == 1:
            return work()
        own: list[T] = []
        self._told(lambda: own.append(work()))
        return own[0] if self.first else work()

    @contextmanager
    def alike(self) -> Iterator[None]:
        """Marks what all processes raise alike: only the first one's counts as its own.

        Raises:
            Exception: What was raised inside; its cause is FirstProcessFailed but in the first.
        """
        try:
            yield
        except Exception as error:
            if self.first:
                raise
            raise error from FirstProcessFailed("all processes raised this")

    def part(self, n: int) -> Sequence[int]:
        """This process's share of n positions; all of them, if not every process can have one."""
        return range(self.rank, n, self.world) if n >= self.world else range(n)

    def whole(self, part: Tensor, n: int) -> Tensor:
        """All n rows in order, on the device of `part`: this process's rows of `part(n)`."""
        if self.world == 1 or n < self.world:
            return part
        most = -(-n // self.world)
        rows = part.new_zeros(most, *part.shape[1:], device="cpu")
        rows[: len(part)] = part.cpu()
        parts = [torch.empty_like(rows) for _ in range(self.world)]
        distributed.all_gather(parts, rows, group=self.group)
        return torch.stack(parts, 1).flatten(0, 1)[:n].to(part.device)

    def mean(self, values: Tensor) -> list[float]:
        """Means over the processes of `(n,)` numbers, on the device that they train on."""
        if self.world > 1:
            distributed.all_reduce(values)
        return (values / self.world).tolist()

    def same_buffers(self, module: nn.Module) -> None:
        """Gives the buffers of all processes the first one's values, such as batch norm's."""
        if self.world > 1:
            for buffer in module.buffers():
                distributed.broadcast(buffer, 0)

    def _told(self, work: Callable[[], T]) -> T:
        told: list[Any] = [None, None]
        error: BaseException | None = None
        if self.first:
            try:
                told[0] = work()
            except BaseException as raised:
                error, told[1] = raised, _portable(raised)
        try:
            distributed.broadcast_object_list(told, 0, group=self.group)
        finally:
            if error is not None:  # also where the others are gone, stopped by the same signal
                raise error
        if told[1] is not None:
            raise told[1] from FirstProcessFailed("the first process raised this")
        return told[0]


ALONE = Processes()


def _portable(error: BaseException) -> BaseException:
    """The error as other processes can raise it: of the same type, if it can be sent to them."""
    try:
        found = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an exception's own constructor does with another's arguments
        found = None
    same = type(found) is type(error) and str(found) == str(error)
    return error if same else RuntimeError(f"{type(error).__name__}: {error}")
