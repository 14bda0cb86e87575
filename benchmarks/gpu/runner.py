"""Runs measurements in their order until the time is over."""

import os
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import wait

from gpu.child import Child
from gpu.jobs import Job, Sizes
from gpu.rows import Rows

SIDE_BY_SIDE = max(2, min(12, (os.cpu_count() or 1) - 4))  # measurements that need no clock
LEAST = 5.0  # seconds with which a measurement is still begun


def run(jobs: Sequence[Job], sizes: Sizes, rows: Rows, until: float) -> list[Job]:
    """Runs the jobs, those without a clock side by side.

    Args:
        jobs: In their order of worth.
        sizes: How large they are.
        rows: Takes what they say.
        until: When all must be over, in `time.monotonic()` seconds.

    Returns:
        Those that were not begun.
    """
    waiting, running = deque(jobs), list[Child]()
    try:
        while waiting or running:
            while waiting and _may_start(waiting[0], running):
                left = until - time.monotonic()
                if left < min(LEAST, waiting[0].limit):
                    break
                running.append(_started(waiting.popleft(), sizes, rows, left))
            if not running:
                break
            _wait(running)
            for child in [child for child in running if child.over()]:
                running.remove(child)
                _end(child, rows)
    finally:
        for child in running:  # the suite itself is told to stop
            _end(child, rows)
    return list(waiting)


def _may_start(job: Job, running: list[Child]) -> bool:
    if not running:
        return True
    together = not job.alone and not any(child.job.alone for child in running)
    return together and len(running) < SIDE_BY_SIDE


def _started(job: Job, sizes: Sizes, rows: Rows, left: float) -> Child:
    with rows.log.open("a") as file:
        file.write(f"--- {job.key}\n")
    return Child(job, sizes, min(job.limit, left), rows.log, lambda row: rows.add(job, row))


def _wait(running: list[Child]) -> None:
    """Until a child says something or ends, or the first deadline, or a second."""
    soonest = min(child.deadline for child in running) - time.monotonic()
    pipes = [child.pipe for child in running]
    wait([*pipes, *(child.process.sentinel for child in running)], max(0.0, min(1.0, soonest)))


def _end(child: Child, rows: Rows) -> None:
    row = child.close()
    rows.add(child.job, row)
    error = f": {row['error']}" if "error" in row else ""
    rows.note(f"{child.job.key} {row['status']} after {row['seconds']} s{error}")
