"""Runs the GPU suite without a GPU, twice, in the folder named; a script of its own process.

Besides the suite's measurements there are four: one hangs with a process that it started, one
raises, one crashes, and one chooses tiles for a layer that is small enough for the interpreter.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import fake_gpu  # noqa: E402
import gpu_suite  # noqa: E402
from gpu import choosing, plan  # noqa: E402
from gpu.jobs import Job, Sizes  # noqa: E402
from gpu.shapes import Shape  # noqa: E402

SIZES = Sizes(
    network="test_resnet",
    models=2,
    batch=4,
    pixels=32,
    classes=5,
    channels=8,
    mixed=0,
    handed=5,
    rounds=1,
    round_ms=0.1,
    poison=2**16,
    copied=2**12,
    matrix=16,
    large=2**13,
    widths=(8, 16),
    hub=2,
    samples=64,
    evidence=((16, 5),),
    forward=("test_resnet",),
    batches=(2, 4),
    ranked=(1, 40),
    tests=("tests/ops/test_choices.py",),
)


def hang(say, sizes: Sizes) -> None:
    child = subprocess.Popen(["sleep", "600"])
    say(what="hang", child=child.pid)
    time.sleep(600)


def fail(say, sizes: Sizes) -> None:
    say(what="before it raised", figures={"extra.figure": 1.0})
    raise ValueError("this one raises")


def crash(say, sizes: Sizes) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def tiles_of_one(say, sizes: Sizes) -> None:
    """The choice of tiles for one small layer, whose kernels the interpreter runs."""
    choosing.tiles({Shape(16, 16, 3, 1, 2): 1}, say, replace(sizes, batch=1))


def jobs(sizes: Sizes, folder: Path) -> list[Job]:
    """The suite's jobs with those of this file; of the many checks of `zoo_conv` every ninth."""
    extra = [
        Job("extra.hang", hang, 1.0),
        Job("extra.raise", fail, 10),
        Job("extra.crash", crash, 10),
    ]
    extra.append(Job("extra.tiles", tiles_of_one, 300))
    found = plan.jobs(sizes, folder)
    many = [job for job in found if job.key.startswith("correct.zoo_conv.")]
    return [*extra, *(job for job in found if job not in many or job in many[::9])]


def main(folder: Path, *more: str) -> None:
    fake_gpu.install()
    for _ in range(2):
        print("exit status", gpu_suite.main(["--out", str(folder), *more], SIZES, jobs), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
