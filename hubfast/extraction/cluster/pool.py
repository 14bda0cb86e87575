"""The workers of a ranking: who is there, what each has to do, and what becomes of it."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from hubfast.extraction.cluster.events import Again, Ended, Event, Lost, reason
from hubfast.extraction.cluster.jobs import Task
from hubfast.extraction.cluster.messages import Hello, Order, WorkerSetup
from hubfast.extraction.cluster.queue import STRIKES, BlockQueue
from hubfast.extraction.cluster.ray_cluster import Cluster
from hubfast.extraction.cluster.worker import Worker
from hubfast.hub.errors import one_line

WAIT = 0.1  # seconds after which new tasks are seen while workers are busy
STARTING = 600.0  # seconds in which some worker must be there
COUNTED = 10.0  # seconds after which it is looked whether the cluster has grown
TRIES = 3  # times that a worker in a row may die as it starts
INLINE = 50_000  # bytes of a pickled source up to which it goes with each order


@dataclass(eq=False)
class _Place:
    """Room for one worker, and the one that is there."""

    actor: Any = None  # None once nobody will be there
    starting: Any = None  # reference to its Hello; None once that has come
    hello: Hello | None = None
    deaths: int = 0  # in a row, as it started
    orders: dict[Any, Task] = field(default_factory=dict)  # by reference to the reply


class Pool:
    """Gives tasks to workers in a thread of its own, so that none waits while results are used.

    Args:
        cluster: Where workers run.
        setup: How they run models.
        data: The samples.
        sources: The pickled source of each model; None for those that do not run here.
        sizes: Samples of each block.
        room: As in `BlockQueue`.
        stays: As in `BlockQueue`.

    Attributes:
        events: What becomes of tasks.
        notes: What the user should know of the workers.
        hardware: That of all workers, as the first one told it; empty before.
    """

    def __init__(
        self,
        cluster: Cluster,
        setup: WorkerSetup,
        data: Any,
        sources: Sequence[bytes | None],
        sizes: Sequence[int],
        *,
        room: int,
        stays: bool,
    ):
        self.cluster, self.setup = cluster, setup
        self.queue: BlockQueue[_Place] = BlockQueue(sizes, room=room, stays=stays)
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.notes: list[str] = []
        self.hardware = ""
        self._data = cluster.put(data)
        self._sources = [self._sent(source) for source in sources]
        self._places: list[_Place] = []
        self._lock, self._closing = threading.RLock(), threading.Event()
        self._ready = threading.Event()  # some worker is there, or none will be
        self._alone = self._counted = time.monotonic()  # since when there is no worker; see _hire
        self._thread = threading.Thread(target=self._serve, name="workers", daemon=True)
        self._thread.start()

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return len(self.queue.workers)

    @property
    def running(self) -> set[int]:
        """Numbers of the models that workers run now."""
        with self._lock:
            return self.queue.models

    def first(self, tick: Callable[[], object]) -> str:
        """Waits for the first worker; gives its hardware, or "" where there will be none."""
        while not self._ready.wait(WAIT):
            tick()
        return self.hardware

    def add(self, tasks: Iterable[Task], rank: int) -> None:
        """Adds tasks; see `BlockQueue.add`."""
        with self._lock:
            self.queue.add(tasks, rank)
            self._give()

    def has(self, task: Task) -> bool:
        """Whether a task is still to be done."""
        with self._lock:
            return self.queue.has(task)

    def take_back(self, model: int) -> None:
        """Forgets what is to be done for a model."""
        with self._lock:
            self.queue.take_back(model)

    def taken(self, model: int, stop: int) -> None:
        """What a model gave for the blocks before `stop` was used."""
        with self._lock:
            self.queue.taken(model, stop)
            self._give()

    def close(self) -> None:
        """Ends all workers, whatever they do."""
        self._closing.set()
        self._thread.join()
        for place in self._places:
            self._kill(place)
        self._places = []

    def _serve(self) -> None:
        try:
            while not self._closing.is_set():
                self._once()
        except BaseException as error:  # the driver must hear of it, or it waits for ever
            self.events.put(Ended(f"workers cannot be served any more: {one_line(error)}"))
            self._ready.set()

    def _once(self) -> None:
        with self._lock:
            self._hire()
            self._give()
            waiting = [place.starting for place in self._places if place.starting is not None]
            waiting += [ref for place in self._places for ref in place.orders]
        if not waiting:
            self._closing.wait(WAIT)
            return
        ready = self.cluster.wait(waiting, WAIT)
        with self._lock:
            for ref in ready:
                self._hear(ref)
            for place in self.queue.overdue(time.monotonic()):
                self._died(place, "nothing was heard of it for too long")

    def _hire(self) -> None:
        """Starts workers wherever there is room, and ends where there will be none."""
        now = time.monotonic()
        if now >= self._counted:
            self._counted = now + COUNTED
            while len(self._places) < self.cluster.places:
                self._places.append(_Place())
                self._start(self._places[-1])
        if self.queue.workers:
            self._alone = now
        elif not any(place.actor for place in self._places):
            self._end("; ".join(["no worker can be used", *self.notes]))
        elif now - self._alone > STARTING:
            self._end(f"no worker was there for {STARTING:.0f} s")

    def _end(self, why: str) -> None:
        self._closing.set()
        self.ended = why
        self.events.put(Ended(why))
        self._ready.set()

    def _start(self, place: _Place) -> None:
        place.actor, place.hello, place.orders = self.cluster.start(Worker), None, {}
        place.starting = place.actor.begin.remote(self.setup, self._data)

    def _hear(self, ref: Any) -> None:
        """Takes what has come for a reference."""
        place = next((p for p in self._places if ref is p.starting or ref in p.orders), None)
        if place is None:  # it was given up meanwhile
            return
        try:
            found = self.cluster.get(ref)
        except Exception as error:  # of Ray: faults of models are answers
            self._died(place, reason(error))
            return
        if isinstance(found, Hello):
            self._welcome(place, found)
            return
        if found.poisoned:
            self._died(place, found.error)
            return
        task, now = place.orders.pop(ref), time.monotonic()
        took = found.spent.prepare + found.spent.forward
        load = found.spent.load
        if self.queue.finished(place, task, now, seconds=took, load=load):
            self.events.put(found)
        else:
            self.events.put(Again(task))
        self.queue.holds(place, found.held)

    def _welcome(self, place: _Place, hello: Hello) -> None:
        place.starting, place.hello, place.deaths = None, hello, 0
        problem = hello.problem
        if not problem and self.hardware and hello.hardware != self.hardware:
            problem = f"it is {hello.hardware}, and others are {self.hardware}: last bits differ"
        if problem:
            self._refuse(place, f"a worker on {hello.node} is not used: {problem}")
            return
        self.hardware = hello.hardware
        self.queue.join(place)
        self._ready.set()

    def _refuse(self, place: _Place, why: str) -> None:
        self._kill(place)
        place.actor = place.starting = None
        if why not in self.notes:
            self.notes.append(why)

    def _died(self, place: _Place, why: str) -> None:
        """Replaces a worker that is no more, or is to be no more."""
        self._kill(place)
        if place in self.queue.workers:
            known = len(self.queue.lost)
            self.queue.died(place)
            for model in self.queue.lost[known:]:
                said = f"killed its worker {STRIKES} times: {why}"
                self.events.put(Lost(model, said))
        else:
            place.deaths += 1
        if place.deaths >= TRIES:
            self._refuse(place, f"a worker did not start: {why}")
        else:
            self._start(place)

    def _kill(self, place: _Place) -> None:
        if place.actor is not None:
            self.cluster.kill(place.actor)

    def _give(self) -> None:
        """Gives out tasks, to workers without one first."""
        there = [place for place in self._places if place in self.queue.workers]
        for place in sorted(there, key=lambda place: len(place.orders)):
            task = self.queue.next(place, time.monotonic())
            if task is not None:
                following = self.queue.following(place)
                source = None if following is None else self._sources[following]
                node = place.hello.node if place.hello else ""
                sharing = sum(p.hello is not None and p.hello.node == node for p in there)
                order = Order(task, self._sources[task.model], source, sharing)
                place.orders[place.actor.run.remote(order)] = task

    def _sent(self, source: bytes | None) -> Any:
        """How a source goes to workers: with each order, or once by reference."""
        return source if source is None or len(source) <= INLINE else self.cluster.put(source)
