"""What the driver and its workers say to each other."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from hubfast.extraction.cluster.jobs import Task
from hubfast.extraction.setting import Spent
from hubfast.hub.model import Extraction
from hubfast.scores.registry import Metric

Hear = Callable[[str], None]
Hearing = Callable[[Hear], AbstractContextManager[Any]]


@dataclass(frozen=True)
class WorkerSetup:
    """How a worker runs all models."""

    metrics: tuple[Metric, ...]
    options: Extraction
    seed: int
    full: int | None  # as in `Setting`
    memory: int | None  # bytes of samples and models, on each machine; None for a quarter of it
    threads: int  # of torch; as many decode samples
    folder: str  # of the cache; empty for none
    transit: str  # folder of what cannot be kept
    token: str  # of a file in it, by which a worker knows it for the driver's
    place: str  # the driver's working folder, which relative paths are of
    path: tuple[str, ...]  # where the driver finds modules
    files: tuple[str, ...]  # that must be seen
    versions: Mapping[str, str]  # of what computes outputs
    hearing: Hearing | None = None  # gives what libraries say to a function while it is open


@dataclass(frozen=True)
class Hello:
    """What a worker is."""

    node: str  # its address
    process: int
    hardware: str  # as `outputs.device_kind` gives it
    problem: str = ""  # why it cannot work here


@dataclass(frozen=True)
class Order:
    """What a worker is to do.

    Attributes:
        task: The task.
        source: The pickled source of the model, or a list of one reference to it.
        following: The source of the model that is likely next; None for none.
        sharing: Workers on this worker's machine, which share its memory.
    """

    task: Task
    source: Any
    following: Any
    sharing: int


@dataclass(frozen=True)
class Reply:
    """What became of a task.

    Attributes:
        task: The task.
        node: Address of the worker's machine.
        error: Why the model cannot go on; empty where it can.
        poisoned: Whether the process can compute nothing any more, as after an error of CUDA.
        unreadable: What is wrong with the samples; empty where nothing is.
        samples: Digest of the samples that the model saw; empty where it saw none.
        identity: As `ModelOutputs.identity`.
        known: As `Known.as_facts` gives it; None where that is not known.
        width: Of the features; None where there are none.
        computed: Samples that the model ran on.
        spent: What that took.
        said: What libraries said meanwhile.
        held: Numbers of the models that are loaded now, the last one first.
        kept: Entries for the cache, where that is not shared.
        passing: Entries for the folder of what cannot be kept, where that is not shared.
    """

    task: Task
    node: str = ""
    error: str = ""
    poisoned: bool = False
    unreadable: str = ""
    samples: str = ""
    identity: Mapping[str, Any] | None = None
    known: Mapping[str, Any] | None = None
    width: int | None = None
    computed: int = 0
    spent: Spent = field(default_factory=Spent)
    said: tuple[str, ...] = ()
    held: tuple[int, ...] = ()
    kept: tuple[bytes, ...] = ()
    passing: tuple[bytes, ...] = ()
