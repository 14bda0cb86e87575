"""A measurement in a process of its own, which dies with all that it started."""

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from gpu.jobs import Job, Sizes

DYING = 5.0  # seconds that the system gets to end a killed process
PR_SET_PDEATHSIG = 1  # of linux/prctl.h: the signal at the parent's death


class Child:
    """A running measurement.

    The process is forked: libraries are imported once, in the parent, which never touches the GPU.

    Args:
        job: What it runs.
        sizes: How large.
        seconds: Time until it is killed.
        log: File that takes what it prints.
        take: Called with each row.
    """

    def __init__(
        self, job: Job, sizes: Sizes, seconds: float, log: Path, take: Callable[[dict], None]
    ):
        self.job, self.take = job, take
        self.limited = seconds < job.limit  # by the end of the suite, not by its own limit
        self.began = time.monotonic()
        self.deadline = self.began + seconds
        self.end: dict | None = None
        context = get_context("fork")
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(job, sizes, theirs, log), daemon=False)
        self.process.start()
        theirs.close()

    def read(self) -> None:
        """Takes the rows that have come."""
        try:
            while self.pipe.poll():
                row = json.loads(self.pipe.recv_bytes())
                if "status" in row:
                    self.end = row
                else:
                    self.take(row)
        except (EOFError, OSError):
            pass  # it has said all

    def over(self) -> bool:
        """Whether it has ended or must."""
        self.read()
        return self.end is not None or self._exited() or time.monotonic() >= self.deadline

    def _exited(self) -> bool:
        """Whether it has exited; its number stays taken, so that no other process gets it."""
        assert self.process.pid is not None
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self.process.pid, how) is not None
        except ChildProcessError:  # the start of another process has taken note of its end
            return True

    def close(self) -> dict:
        """Ends it with all that it started; returns the row that tells how it went."""
        exited = self._exited()
        _kill(self.process.pid)
        self.process.join(DYING)
        self.read()
        self.pipe.close()
        row = self.end or self._fate(exited)
        if self.process.is_alive():
            row["left"] = f"process {self.process.pid} does not die"
        return {**row, "seconds": round(time.monotonic() - self.began, 2)}

    def _fate(self, exited: bool) -> dict:
        if exited:
            return {"status": "crashed", "error": f"exit status {self.process.exitcode}"}
        if self.limited or time.monotonic() < self.deadline:
            return {"status": "cut", "error": "the suite's time was over"}
        return {"status": "hung", "error": f"killed after {self.job.limit:g} s"}


def _kill(pid: int | None) -> None:
    assert pid is not None
    for kill in (os.killpg, os.kill):  # its group, and itself if it has made none yet
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _work(job: Job, sizes: Sizes, pipe: Connection, log: Path) -> None:
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nor does it outlive the suite
    with log.open("a", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)

    def say(**row: object) -> None:
        pipe.send_bytes(json.dumps(row).encode())

    try:
        job.run(say, sizes)
    except BaseException as error:
        traceback.print_exc()
        say(status="raised", error=f"{type(error).__name__}: {error}"[:500])
    else:
        say(status="done")
    pipe.close()
    os._exit(0)  # the driver's own end may hang after a fault
