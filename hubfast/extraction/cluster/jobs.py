"""What a queue of tasks knows of its models and of its workers."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Task(NamedTuple):
    """The unit of work: the number of a model, and that of a block."""

    model: int
    block: int


@dataclass
class Job:
    """One model: who runs it, and what is known of it."""

    flying: dict[int, int] = field(default_factory=dict)  # number of workers that run each block
    wanted: bool = True  # whether what a dead worker had of it is to be run again
    finished: set[int] = field(default_factory=set)  # blocks that wait to be taken
    taken: int = 0  # blocks before this one were taken
    holders: int = 0  # workers that have loaded it
    pace: float | None = None  # seconds for one sample
    load: float = 0.0  # seconds for loading it
    strikes: int = 0


@dataclass
class Flight:
    """A task that a worker has."""

    task: Task
    since: float  # when it was the first of those that the worker has
    loaded: bool  # whether the worker had the model already


@dataclass
class Hand:
    """One worker: what it does, and the models that it has loaded, the last one first."""

    flights: list[Flight] = field(default_factory=list)
    held: tuple[int, ...] = ()
