"""A cluster of any size without a cluster: the queue of tasks, and workers that only take time."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from hubfast.data.order import block_ends
from hubfast.extraction.cluster.jobs import Task
from hubfast.extraction.cluster.queue import BlockQueue


@dataclass(frozen=True)
class Timing:
    """What a model takes."""

    pace: float  # seconds for one sample
    load: float  # seconds


@dataclass(frozen=True)
class Makespan:
    """How long all models took, in seconds."""

    seconds: float
    bound: float  # no schedule that keeps a model in one place takes less
    loads: int  # of models

    @property
    def share(self) -> float:
        """The bound as a share of what it took."""
        return self.bound / self.seconds


def simulated(
    models: Sequence[Timing], workers: int, samples: int, *, held: int = 8, slow: float = 1.0
) -> Makespan:
    """Lets workers do all tasks of a ranking.

    Args:
        models: What the models take.
        workers: How many workers there are.
        samples: How many samples there are.
        held: Models that a worker keeps loaded.
        slow: How many times as long the first worker takes for everything.
    """
    ends = block_ends(samples)
    sizes = [end - start for start, end in zip((0, *ends), ends, strict=False)]
    queue = BlockQueue(sizes, stays=True)
    for block in range(len(sizes)):  # as the engine does: the first one, then a stretch
        queue.add([Task(model, block) for model in range(len(models))], int(block > 0))
    now, loads, held_by = 0.0, 0, [list[int]() for _ in range(workers)]
    doing: list[tuple[float, int, Task, float, float]] = []  # heap: until, worker, task, seconds
    free = {*range(workers)}
    for worker in free:
        queue.join(worker)

    def start(worker: int, since: float) -> bool:
        nonlocal loads
        task = queue.next(worker, since)
        if task is None:
            return False
        timing, models_held = models[task.model], held_by[worker]
        load = 0.0 if task.model in models_held else timing.load
        loads += load > 0
        held_by[worker] = [task.model, *(m for m in models_held if m != task.model)][:held]
        factor = slow if worker == 0 else 1.0
        seconds = factor * timing.pace * sizes[task.block]
        heapq.heappush(doing, (since + seconds + factor * load, worker, task, seconds, load))
        return True

    last, left = 0.0, {*(Task(m, b) for m in range(len(models)) for b in range(len(sizes)))}
    while left:
        free -= {worker for worker in sorted(free) if start(worker, now)}
        now, worker, task, seconds, load = heapq.heappop(doing)
        if queue.finished(worker, task, now, seconds=seconds, load=load):
            pass
            left.discard(task)
            last = now
        queue.holds(worker, held_by[worker])
        free.add(worker)
    each = [model.load + model.pace * samples for model in models]
    return Makespan(last, max(sum(each) / workers, max(each)), loads)
