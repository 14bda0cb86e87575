"""Takes models from block to block as the local engine does, where others run them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty

from hubfast.extraction.cluster.crew import Crew
from hubfast.extraction.cluster.events import Again, Ended, Event, Lost
from hubfast.extraction.cluster.jobs import Task
from hubfast.extraction.cluster.messages import Reply
from hubfast.extraction.engine import About, Engine
from hubfast.extraction.feed import Feed, UnreadableDataError
from hubfast.extraction.model_run import ModelRun
from hubfast.extraction.setting import Known

TICK = 0.2  # seconds after which a budget is looked at while nothing comes
MISSING = 3  # times that what a worker has kept may not be found

Done = Callable[[ModelRun], object]


class ClusterEngine(Engine):
    """Runs models on workers, and uses what these have kept as if it had been there before.

    What a model gives comes by the cache, so that every number is that of a local run. Models
    that are not `away` run here, once the others are done.

    Args:
        feed: The samples.
        memory: Bytes that models may take that run here.
        about: Opened around what is done for a model.
        crew: The workers, which know models by their numbers in `runs`.
        runs: All models.
        tick: Called from time to time while this waits; what it raises ends the wait.
        working: Called with the models that workers run, and the number of workers, as these
            change.
        told: Called with a model and each answer about it.
    """

    def __init__(
        self,
        feed: Feed,
        memory: int,
        about: About,
        *,
        crew: Crew,
        runs: Sequence[ModelRun],
        tick: Callable[[], object],
        working: Callable[[set[ModelRun], int], object],
        told: Callable[[ModelRun, Reply], object],
    ):
        super().__init__(feed, memory, about)
        assert crew.pool is not None
        self.crew, self.pool, self.runs = crew, crew.pool, tuple(runs)
        self.tick, self.working, self.told = tick, working, told
        self._number = {run: number for number, run in enumerate(runs)}
        self._answered: set[Task] = set()
        self._missing = Counter[Task]()
        self._identified: set[ModelRun] = set()
        self._busy: set[int] = set()

    def advance(
        self, runs: Sequence[ModelRun], start: int, stop: int, done: Done = lambda run: None
    ) -> None:
        """Takes the models through the blocks from `start` to before `stop`; see `Engine`.

        Workers without anything to do there go ahead with the blocks behind.

        Raises:
            UnreadableDataError: The samples are at fault.
        """
        away = [run for run in runs if run.away and not run.error and run.done < stop]
        for run in self.runs:
            if run.away and run not in away:
                self.pool.take_back(self._number[run])
        asking = self._asking(away, start, stop, done)
        while True:
            asked = next(asking, None)
            if asked is None and all(run.error or run.done >= stop for run in away):
                break
            heard = self._hear(0.0 if asked else TICK)
            if heard is not None and heard in away:
                self._go_on(heard, stop, done)
        super().advance([run for run in runs if not run.away], start, stop, done)

    def _asking(
        self, away: Sequence[ModelRun], start: int, stop: int, done: Done
    ) -> Iterator[ModelRun]:
        """Uses what is kept, and asks for the rest step by step, so that workers begin at once."""
        for run in away:
            self._go_on(run, stop, done)
            yield run
        for rank, blocks in enumerate(self._stretches(away, start, stop)):
            for run in away:
                missing = [i for i in blocks if i >= run.done and not run.finds(i, stop)]
                if missing and not run.error:
                    number = self._number[run]
                    self.pool.add([Task(number, index) for index in missing], rank)
                yield run

    def _stretches(
        self, away: Sequence[ModelRun], start: int, stop: int
    ) -> Iterator[Sequence[int]]:
        """Blocks that go through all models before the next ones: as many as memory holds.

        Behind `stop` they become twice as many each time, as the looks of a race do.
        """
        feed = self.feed
        known = [run.known.framing for run in away if run.known is not None]
        framings, keep = [one for one in known if one is not None], None in known
        while start < stop:
            end = feed.plan(start, stop, framings, keep=keep)
            yield range(start, end)
            start = end
        feed.plan(0, 1, (), keep=False)  # nothing is framed here
        while start < len(feed):
            limit = 2 * feed.ends[start - 1]
            end = next((i for i, at in enumerate(feed.ends) if at > limit), len(feed))
            yield range(start, max(end, start + 1))
            start = max(end, start + 1)

    def _go_on(self, run: ModelRun, stop: int, done: Done) -> None:
        """Uses what a model gave, as far as that is there, and asks for the block behind."""
        if run.done >= stop:  # it was told of more than once
            return
        number = self._number[run]
        with self.about(run):
            run.advance(stop)
            task = Task(number, run.done)
            lost = not run.error and run.done < stop and task in self._answered
            if lost and not self.pool.has(task):
                run.look_again()
                run.advance(stop)
                self._count_missing(run, task)
        self.pool.taken(number, run.done)
        if run.error:
            self.pool.take_back(number)
        elif run.done == len(self.feed):
            done(run)
        elif run.done < stop:
            self.pool.add([Task(number, run.done)], 0)

    def _count_missing(self, run: ModelRun, task: Task) -> None:
        """Gives up a model of which nothing is found that workers say they have kept."""
        if run.error or run.done > task.block:
            return
        self._answered.discard(task)
        self._missing[task] += 1
        if self._missing[task] >= MISSING:
            run.error = (
                f"what workers kept of block {task.block} was not found {MISSING} times: is the "
                "folder of the cache full, or pruned meanwhile?"
            )

    def _hear(self, wait: float) -> ModelRun | None:
        """Takes what has come from a worker; gives the model that it is of."""
        event: Event | None = None
        with suppress(Empty):
            event = self.pool.events.get(wait > 0, wait or None)
        self.tick()
        busy = self.pool.running
        if busy != self._busy:
            self._busy = busy
            self.working({self.runs[number] for number in busy}, self.pool.workers)
        match event:
            case Ended(why):
                for run in self.runs:
                    if run.away and run.done < len(self.feed):
                        self._fail(run, why)
            case Lost(model, why):
                self._fail(self.runs[model], why)
            case Again((model, block)):
                self.runs[model].came_again(block)
            case Reply():
                return self._learn(event)
        return None

    def _learn(self, reply: Reply) -> ModelRun:
        """Takes over what an answer tells of a model."""
        run = self.runs[reply.task.model]
        self.crew.install(reply)
        if reply.unreadable:
            raise UnreadableDataError(reply.unreadable)
        self._answered.add(reply.task)
        run.computed += reply.computed
        for name, seconds in vars(reply.spent).items():
            setattr(run.spent, name, getattr(run.spent, name) + seconds)
        self.told(run, reply)
        if run.error:
            return run
        if reply.error:
            for index in range(reply.task.block + 1):  # which a run here would have looked at
                self.feed.known(index)
            self._fail(run, reply.error)
        elif run in self._identified and reply.identity != run.identity:
            self._fail(run, "workers do not have the same of it: its files or its code differ")
        else:
            self._check_samples(reply)
            run.identified(reply.identity)
            self._identified.add(run)
            run.width = run.width if reply.width is None else reply.width
            if reply.known is not None:
                run.known = Known.of_facts(reply.known)
        return run

    def _check_samples(self, reply: Reply) -> None:
        feed = self.feed
        if not reply.samples or reply.samples == feed.digest(reply.task.block):
            return
        if feed.hashed_by_reading:
            raise UnreadableDataError(
                "data must give the same samples each time with ray, and gave others to a worker "
                f"on {reply.node} than here: leave out random transforms, or rank without ray"
            )
        raise UnreadableDataError(
            f"data must be the same on every machine, and a worker on {reply.node} sees other "
            "samples than this one under the same paths"
        )

    def _fail(self, run: ModelRun, why: str) -> None:
        if not run.error:
            run.error = why
            self.pool.take_back(self._number[run])
            with self.about(run):  # which shows it
                pass
