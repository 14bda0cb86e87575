"""How many threads run: two thread pools must not fight over the same cores."""

import functools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController, threadpool_limits

WORKERS_PER_CORE = 8  # processes that wait for disks leave cores idle; more only take memory
Item = TypeVar("Item")
Result = TypeVar("Result")
_CORES: ContextVar[int | None] = ContextVar("cores", default=None)


def cores() -> int:
    """Threads that native code may use here: all of this process's cores, or 1 in a worker."""
    limit = _CORES.get()
    if limit is not None:
        return limit
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_processes(wanted: int) -> int:
    """As many processes as are wanted, or as this machine bears; a warning says of fewer.

    Args:
        wanted: Processes that prepare samples, at least 0.
    """
    most = WORKERS_PER_CORE * cores()
    if wanted > most:
        said = f"workers is {most:,}, not {wanted:,}: {WORKERS_PER_CORE} for each core"
        warnings.warn(f"{said} of this machine are the most", stacklevel=2)
    return min(wanted, most)


def limit_cores(count: int) -> None:
    """From now on `cores` gives `count` in this thread, and in contexts that are copied from it."""
    _CORES.set(count)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Runs torch on one thread: around LAPACK, and where BLAS calls alternate with torch ops.

    Idle OpenMP threads spin for a while, and a BLAS with threads of its own that starts
    meanwhile waits for them (2 cores: an update of statistics took 1.5 to 2 times as long).
    torch's own LAPACK was up to 44 times slower on two threads than on one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_blas_thread() -> AbstractContextManager[object]:
    """Runs SciPy's BLAS and LAPACK on one thread: where torch's threads still spin beside it.

    Costs 40 microseconds; the smallest eigenvalue of 128 x 128 took 5 times as long without.
    """
    return _thread_pools().limit(limits=1, user_api="blas")


@functools.cache
def _thread_pools() -> ThreadpoolController:
    """Controls the libraries that are loaded; looking for them takes milliseconds."""
    return ThreadpoolController()


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    cost: Callable[[Item], float] = lambda item: 0.0,
) -> list[Result]:
    """`function` of every item, as many at a time as there are cores, one thread each.

    For work that releases the GIL. Costly items start first, so that none is left for the end.
    The first exception, by the order of items, is raised once all have ended.
    """

    def alone(item: Item) -> Result:
        _CORES.set(1)  # of this worker's own context
        with one_torch_thread():
            return function(item)

    order = sorted(range(len(items)), key=lambda i: -cost(items[i]))
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cores()) as pool:
        futures = {i: pool.submit(alone, items[i]) for i in order}
    return [futures[i].result() for i in range(len(items))]
