"""Which worker runs which model over which block: decided here, without Ray, and without a clock.

A worker goes on with the model that it has loaded; models that nobody has come next, longest
first; then a worker helps with the longest of the others, where that is worth loading it.
"""

from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from hubfast.extraction.cluster.jobs import Flight, Hand, Job, Task
from hubfast.extraction.cluster.patience import due, patience
from hubfast.extraction.cluster.pending import PendingBlocks

Worker = TypeVar("Worker", bound=Hashable)

STRIKES = 3  # workers that may die of one model
WORTH = 0.5  # of the time that a model still takes: below that, loading it once more is worth it


class BlockQueue(Generic[Worker]):
    """The tasks that are left, and who does what.

    Args:
        sizes: Samples of each block.
        room: Blocks that may be finished and not taken: beyond that only those are given out that
            are to be taken next, so that nothing piles up where taking is what is slow.
        stays: Whether a model that is costly to load is run to its end once it is loaded, and not
            only as far as others are. In a race it may well be stopped before.
    """

    def __init__(self, sizes: Sequence[int], *, room: int = 1 << 30, stays: bool = False):
        self.sizes, self.room, self.stays = tuple(sizes), room, stays
        self.lost: list[int] = []  # models that have killed as many workers as they may
        self._jobs: dict[int, Job] = {}
        self._hands: dict[Worker, Hand] = {}
        self._pending = PendingBlocks(self.sizes)
        self._waits = 0  # finished blocks that were not taken
        self._flights = 0  # tasks that workers have
        self._late_ones: tuple[float, list[Task]] = (-1.0, [])  # when these were looked for

    @property
    def workers(self) -> Collection[Worker]:
        """All that have joined, and have not died."""
        return self._hands.keys()

    @property
    def in_flight(self) -> int:
        """Number of tasks that workers have."""
        return self._flights

    @property
    def models(self) -> set[int]:
        """Models that some worker runs."""
        return {hand.flights[0].task.model for hand in self._hands.values() if hand.flights}

    def add(self, tasks: Iterable[Task], rank: int = 0) -> None:
        """Adds tasks, but for those that are pending or with a worker.

        Args:
            tasks: The tasks.
            rank: Tasks of lower ones are done first. That of a pending task is lowered to it.
        """
        for model, block in tasks:
            job = self._job(model)
            if model in self.lost:
                continue
            job.wanted = True
            if block in job.flying:
                continue
            if block in job.finished:
                job.finished.discard(block)
                self._waits -= 1
            self._pending.add(model, block, rank)

    def has(self, task: Task) -> bool:
        """Whether a task is pending, or with a worker."""
        job = self._job(task.model)
        return task in self._pending or task.block in job.flying

    def take_back(self, model: int) -> None:
        """Forgets what is pending of a model, and what is finished and was not taken."""
        job = self._job(model)
        job.wanted = False
        self._pending.forget(model)
        self._waits -= len(job.finished)
        job.finished.clear()

    def taken(self, model: int, stop: int) -> None:
        """What a model gave for the blocks before `stop` was taken."""
        job = self._job(model)
        job.taken = stop
        before = {block for block in job.finished if block < stop}
        job.finished -= before
        self._waits -= len(before)

    def join(self, worker: Worker) -> None:
        """A worker is there, with no model loaded."""
        self._hands[worker] = Hand()

    def next(self, worker: Worker, now: float) -> Task | None:
        """Gives a worker its next task, if there is one for it.

        One that has a task gets another only of the model that it runs, and only where no more
        than one task would be in flight beyond one for each worker.
        """
        hand = self._hands[worker]
        task = self._further(hand) if hand.flights else self._choice(hand)
        if task is None and not hand.flights and not self._pending.groups:
            task = self._late(worker, now)
        if task is not None:
            self._pending.discard(task)
            flying = self._job(task.model).flying
            flying[task.block] = flying.get(task.block, 0) + 1
            hand.flights.append(Flight(task, now, task.model in hand.held or bool(hand.flights)))
            self._flights += 1
        return task

    def finished(
        self, worker: Worker, task: Task, now: float, *, seconds: float, load: float = 0.0
    ) -> bool:
        """A worker has done a task.

        Args:
            worker: The worker.
            task: The task.
            now: The time in seconds.
            seconds: What the block took, but for loading the model.
            load: What loading the model took.

        Returns:
            Whether it is the first one to have done it.
        """
        hand, job = self._hands[worker], self._job(task.model)
        hand.flights = [flight for flight in hand.flights if flight.task != task]
        for flight in hand.flights:
            flight.since, flight.loaded = now, True
        self._land(job, task.block)
        self.holds(worker, (task.model, *(m for m in hand.held if m != task.model)))
        if seconds or job.pace is None:  # what was kept took no time
            job.pace = seconds / max(self.sizes[task.block], 1)
        job.load = load or job.load
        known = task in self._pending or task.block in job.finished or task.block < job.taken
        if not known:
            job.finished.add(task.block)
            self._waits += 1
        return not known

    def holds(self, worker: Worker, models: Sequence[int]) -> None:
        """Which models a worker has loaded now, the last one first."""
        hand = self._hands[worker]
        for count, some in ((-1, hand.held), (1, models)):
            for model in some:
                self._job(model).holders += count
        hand.held = tuple(models)

    def died(self, worker: Worker) -> Task | None:
        """A worker is no more; what it had is pending again. Gives the task that it was at."""
        self.holds(worker, ())
        hand = self._hands.pop(worker)
        for flight in hand.flights:
            model, block = flight.task
            job = self._job(model)
            self._land(job, block)
            done = block in job.flying or block in job.finished or block < job.taken
            if job.wanted and not done:
                self._pending.add(model, block, -1)
        if not hand.flights:
            return None
        task = hand.flights[0].task
        job = self._job(task.model)
        job.strikes += 1
        if job.strikes >= STRIKES and task.model not in self.lost:
            self.lost.append(task.model)
        if task.model in self.lost:
            self.take_back(task.model)
        return task

    def overdue(self, now: float) -> list[Worker]:
        """Workers that have not been heard of for so long that they count as lost."""
        firsts = [(worker, hand.flights[0]) for worker, hand in self._hands.items() if hand.flights]
        return [worker for worker, flight in firsts if now - flight.since > self._patience(flight)]

    def following(self, worker: Worker) -> int | None:
        """The model that a worker will most likely run after the present one."""
        held = self._hands[worker].held
        for rank in sorted(self._pending.groups):
            free = self._unheld({m for m in self._pending.groups[rank] if m not in held})
            if free:
                return max(free, key=self._order)
        return None

    def _job(self, model: int) -> Job:
        return self._jobs.setdefault(model, Job())

    def _further(self, hand: Hand) -> Task | None:
        """Another task for a worker that has one."""
        model = hand.flights[0].task.model
        head = self._head(model)
        if len(hand.flights) > 1 or self._flights > len(self._hands) or head is None:
            return None
        first = head[0] == min(self._pending.groups) or self._goes_on(model)
        return Task(model, head[1]) if first else None

    def _choice(self, hand: Hand) -> Task | None:
        """What is best for an idle worker."""
        if hand.held and self._head(hand.held[0]) is not None and self._goes_on(hand.held[0]):
            return self._task(hand.held[0])
        for rank in sorted(self._pending.groups):
            models = self._pending.groups[rank]
            if self._waits >= self.room:
                models = {model for model in models if self._head(model) is not None}
            if hand.held and hand.held[0] in models:
                return self._task(hand.held[0])
            for some in (models.intersection(hand.held), self._unheld(models)):
                if some:
                    return self._task(max(some, key=self._order))
            best = max(models, key=lambda model: (self._gain(model), -model), default=None)
            if best is not None and self._gain(best) > 0:
                return self._task(best)
        return None

    def _goes_on(self, model: int) -> bool:
        """Whether a worker stays with a model before others are as far."""
        return self.stays and self._job(model).load > WORTH * self._rest(model)

    def _unheld(self, models: set[int]) -> set[int]:
        """Of these those that nobody runs; if there are any, those that nobody has loaded."""
        idle = {m for m in models if not self._jobs[m].flying}
        return {m for m in idle if not self._jobs[m].holders} or idle

    def _order(self, model: int) -> tuple[float, int]:
        return self._rest(model), -model

    def _gain(self, model: int) -> float:
        """Seconds that a model ends earlier with one worker more."""
        job = self._job(model)
        count = sum(job.flying.values()) or 1
        return self._rest(model) * (1 / count - 1 / (count + 1)) - job.load

    def _rest(self, model: int) -> float:
        """Seconds that the pending blocks of a model will take."""
        return self._pace(self._job(model)) * self._pending.samples(model)

    def _pace(self, job: Job) -> float:
        """Seconds for one sample; a model that has not run is taken before all that have."""
        return 1e3 if job.pace is None else job.pace

    def _task(self, model: int) -> Task:
        head = self._pending.head(model)
        assert head is not None
        return Task(model, head[1])

    def _head(self, model: int) -> tuple[int, int] | None:
        """The rank and the number of a model's next block, if that may be given out."""
        job = self._job(model)
        head = self._pending.head(model)
        full = head is not None and self._waits >= self.room and head[1] > job.taken
        return None if full else head

    def _late(self, worker: Worker, now: float) -> Task | None:
        """A task that another worker has had for far too long, to be done twice."""
        if self._late_ones[0] != now:
            hands = (hand for hand in self._hands.values() if hand.flights)
            late = (hand for hand in hands if now - hand.flights[0].since > self._due(hand))
            flights = [(flight.since, flight.task) for hand in late for flight in hand.flights]
            self._late_ones = now, [task for _, task in sorted(flights)]
        for model, block in self._late_ones[1]:
            job = self._job(model)
            over = block in job.finished or block < job.taken
            if job.wanted and not over and job.flying.get(block) == 1:
                return Task(model, block)
        return None

    def _due(self, hand: Hand) -> float:
        model, block = hand.flights[0].task
        return due(self._job(model), self.sizes[block], self._jobs.values())

    def _patience(self, flight: Flight) -> float:
        model, block = flight.task
        return patience(self._job(model), self.sizes[block], loaded=flight.loaded)

    def _land(self, job: Job, block: int) -> None:
        self._flights -= 1
        job.flying[block] -= 1
        if not job.flying[block]:
            del job.flying[block]
