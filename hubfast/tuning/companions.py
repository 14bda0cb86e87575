"""The other processes of a training on one machine, where neither torchrun nor a user started any.

This program is started again, once for each further device, with the same arguments; each has what
torchrun would put into its environment. Whoever is in a training with another that is gone cannot
go on. gloo says so at once and NCCL may never, so that a thread watches, and ends this process
where it has not noticed by itself. Outside of a training nobody is watched.
"""

import atexit
import functools
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from torch import distributed

from hubfast.tuning.lost import ProcessLost
from hubfast.utils.names import brief

if TYPE_CHECKING:
    from torch.distributed import TCPStore

STARTED_BY = "HUBFAST_STARTED_BY"  # in the environment of those that were started: whose they are
HOST = "127.0.0.1"
STEP = 0.1  # seconds between two looks at them
GRACE = 10.0  # seconds in which one notices by itself that another is gone, or ends by itself
CODE = 1  # exit code of a process that had to be ended


class Companions:
    """The processes that this one has started, or the one that has started it."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        self._store: TCPStore | None = None  # where all meet: it lasts as long as this process
        self._parent = int(os.environ.get(STARTED_BY, 0))

    def start(self, count: int) -> None:
        """Starts `count` processes, and returns when all have come as far as this one.

        The environment then says of this one that it is the first of all.

        Raises:
            ProcessLost: One ended before that.
            ValueError: The program is in no file, so that it cannot be started again.
        """
        command = program()
        store = distributed.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
        shared = _variables(store.port, count + 1)
        started: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(1, count + 1):
                own = {**shared, **_ranks(rank), STARTED_BY: str(os.getpid())}
                started.append(subprocess.Popen(command, env={**os.environ, **own}))
            _await(store, started, command)
        except BaseException:
            _kill(started)
            raise
        os.environ.update({**shared, **_ranks(0)})
        self._started, self._store = started, store
        atexit.register(_wait, started)

    def answer(self) -> None:
        """Tells the process that started this one that it has come as far, if one did."""
        if os.environ.pop(STARTED_BY, None) is not None:
            port, rank = int(os.environ["MASTER_PORT"]), int(os.environ["RANK"])
            distributed.TCPStore(HOST, port, is_master=False).set(_here(rank), "")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While it is open, this process ends soon after another one is gone.

        What is lost are the steps since the last checkpoint.
        """
        if not self._started and not self._parent:
            yield
            return
        over = threading.Event()
        threading.Thread(target=self._watch, args=(over,), daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _watch(self, over: threading.Event) -> None:
        while (gone := self._gone()) is None:
            if over.wait(STEP):
                return
        if over.wait(GRACE):
            return
        sys.stderr.write(f"error: {gone}; this one cannot go on without it and was ended\n")
        sys.stderr.flush()
        os._exit(CODE)

    def _gone(self) -> str | None:
        """Which process ended, if one did."""
        if self._parent and os.getppid() != self._parent:
            return "the process that started this one has ended"
        return _failed(self._started)


@functools.cache
def companions() -> Companions:
    """Those of this process, which has them as long as it lives."""
    return Companions()


def program() -> Sequence[str]:
    """The command that starts this program again.

    Raises:
        ValueError: It is in no file.
    """
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return [sys.executable, "-m", spec.name, *sys.argv[1:]]
    if file is None or not os.path.isfile(file):
        raise ValueError(
            "devices must be 1 in a notebook, at a prompt and in python -c: for several devices "
            "the program is started several times, and must be a file"
        )
    return [sys.executable, os.path.abspath(file), *sys.argv[1:]]


def _variables(port: int, world: int) -> Mapping[str, str]:
    """What torchrun tells all processes alike."""
    return {
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "GROUP_RANK": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is there, and nobody opens one
    }


def _ranks(rank: int) -> Mapping[str, str]:
    return {"RANK": str(rank), "LOCAL_RANK": str(rank)}


def _here(rank: int) -> str:
    return f"hubfast/here/{rank}"


def _await(
    store: "TCPStore", started: Sequence[subprocess.Popen[bytes]], command: Sequence[str]
) -> None:
    """Returns when all that the command has started have answered.

    Raises:
        ProcessLost: One ended, with whatever exit code, and had not.
    """
    missing = {_here(rank): process for rank, process in enumerate(started, 1)}
    while missing:
        for key, process in list(missing.items()):
            code = process.poll()  # before the store: what has answered may end right after
            if store.check([key]):
                del missing[key]
            elif code is not None:
                raise ProcessLost(
                    f"a process that was started for one of the devices {_ended(code)} before it "
                    f"trained; it was started by: {brief(shlex.join(command))}"
                )
        time.sleep(STEP)


def _failed(started: Sequence[subprocess.Popen[bytes]]) -> str | None:
    codes = (process.poll() for process in started)
    code = next((code for code in codes if code), None)
    return None if code is None else f"another process of this training {_ended(code)}"


def _ended(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _kill(started: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in started:
        process.kill()
        process.wait()


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Gives processes that are as good as done the time to end before this one.

    One that takes longer has work of its own, and one that is in a training ends by its watch.
    """
    until = time.monotonic() + GRACE
    with suppress(subprocess.TimeoutExpired):
        for process in started:
            process.wait(max(until - time.monotonic(), 0))
