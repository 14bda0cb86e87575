"""What becomes of tasks, beside the answers of workers."""

from dataclasses import dataclass

from hubfast.extraction.cluster.jobs import Task
from hubfast.extraction.cluster.messages import Reply
from hubfast.hub.errors import one_line


@dataclass(frozen=True)
class Lost:
    """A model that killed too many workers, and the last thing that was heard of it."""

    model: int
    why: str


@dataclass(frozen=True)
class Ended:
    """No worker is left, and none can be started."""

    why: str


@dataclass(frozen=True)
class Again:
    """A task that was done a second time, as its first worker seemed slow."""

    task: Task


Event = Reply | Lost | Ended | Again


def reason(error: BaseException) -> str:
    """Why a worker is no more, in a few words."""
    kind = type(error).__name__
    said = {
        "OutOfMemoryError": "its machine had no memory left",
        "NodeDiedError": "its machine is gone",
        "ActorDiedError": "its process ended",
        "ActorUnavailableError": "its machine does not answer",
    }
    return said.get(kind) or one_line(getattr(error, "cause", None) or error)
