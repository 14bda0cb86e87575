"""Everything that waits for a GPU, by one command on a bare machine.

python benchmarks/gpu_suite.py --out DIR [--minutes 9] [--resume FILE] [--only KEY ...]

hubfast need not be installed: this checkout is used, and its cores are built where they are. Every
measurement is a process of its own, which is killed at its limit. In DIR lie, as they come: rows of
JSON (rows.jsonl), what was printed (log.txt), at the end a report on every open point of
GPU_TODO.md (report.md, also printed) and the GPU's file of measured choices, which goes into
hubfast/ops/measured or, for a trial, is found through HUBFAST_MEASURED=DIR.

A second call with the same DIR, or with --resume and the rows of another, goes on: what never ran
comes first, then what did not end well; what is done is not repeated but with --again. Rows of
another GPU or other versions are left alone. Exit status: 0 every open point was measured and none
missed, 1 otherwise, 2 there is no GPU here.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

BEGAN = time.monotonic()
MACHINE_LIMIT, REPORTING = 60.0, 5.0  # seconds

sys.path.insert(0, str(Path(__file__).parent))
# Whoever asks whether there is a GPU must not touch it in this process: children are forked.
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"

from gpu.checkout import use_checkout  # noqa: E402

use_checkout()

import torch  # noqa: E402
from gpu import card, plan, tables  # noqa: E402
from gpu.jobs import Job, Sizes  # noqa: E402
from gpu.report import printed, report, verdicts  # noqa: E402
from gpu.rows import REPORT, Rows  # noqa: E402
from gpu.runner import run  # noqa: E402


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="the results' folder; a new one if not given")
    parser.add_argument("--minutes", type=float, default=9.0, help="time for all of it")
    parser.add_argument("--resume", type=Path, help="rows of an earlier run to go on from")
    parser.add_argument("--only", nargs="+", default=[""], help="keys begin with one of these")
    parser.add_argument("--without", nargs="+", default=[], help="keys that are left out")
    parser.add_argument("--again", nargs="+", default=[], help="repeat these, though they are done")
    return parser.parse_args(arguments)


def main(
    arguments: Sequence[str] | None = None,
    sizes: Sizes = Sizes(),  # noqa: B008 - frozen
    made: Callable[[Sizes, Path], list[Job]] = plan.jobs,
) -> int:
    """Runs what was not done yet, and reports on all; returns the exit status.

    Args:
        arguments: Of the command line; None for this process's.
        sizes: How large the measurements are.
        made: Gives all measurements.
    """
    options = options_of(arguments)
    options.out = options.out or Path(tempfile.mkdtemp(prefix="hubfast-gpu-"))
    until = time.monotonic() + 60 * options.minutes - REPORTING
    if arguments is None:
        until -= time.monotonic() - BEGAN  # imports count as well
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
    rows = Rows(options.out, options.resume)
    if (why := known(rows, sizes, until)) is not None:
        print(f"nothing was measured: {why}", file=sys.stderr)
        return 2
    jobs = made(sizes, options.out)
    if torch.cuda.is_initialized():
        raise RuntimeError("the suite's own process must not touch the GPU: its children could not")
    try:
        left = run(in_order(jobs, rows, options), sizes, rows, until)
        rows.note(f"{len(left)} measurements were not begun")
    finally:
        tables.write(options.out, rows.comparable(), rows.machine)
        text = report(rows, jobs)
        (options.out / REPORT).write_text(text)
        print(printed(text), flush=True)
    return 0 if all(v in ("met", "measured") for *_, v in verdicts(rows, jobs)) else 1


def known(rows: Rows, sizes: Sizes, until: float) -> str | None:
    """Finds out on which machine this is, in a child: the parent never touches the GPU.

    Returns:
        None, or why nothing can be measured here.
    """
    job = Job("machine", card.machine, MACHINE_LIMIT)
    run([job], sizes, rows, until)
    told = [row for row in rows.rows if row["job"] == job.key]
    if told[-1].get("status") != "done":
        return told[-1].get("error", "the machine could not be looked at")
    rows.machine = told[-2]["found"]
    return None


def in_order(jobs: list[Job], rows: Rows, options: argparse.Namespace) -> list[Job]:
    """The wanted jobs that are not done: those that never ran, then those that ended badly."""
    status = rows.status()

    def begins(job: Job, keys: Sequence[str]) -> bool:
        return any(job.key.startswith(key) for key in keys)

    wanted = [j for j in jobs if begins(j, options.only) and not begins(j, options.without)]
    again = [job for job in wanted if options.again and begins(job, options.again)]
    new = [job for job in wanted if job.key not in status and job not in again]
    cut = [j for j in wanted if status.get(j.key, {}).get("status") == "cut" and j not in again]
    bad = ("raised", "hung", "crashed")
    late = [j for j in wanted if status.get(j.key, {}).get("status") in bad and j not in again]
    return [*again, *cut, *new, *late]


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # without waiting for a child that the driver does not let die
