"""Everything that waits for a GPU, in one command: first the tests, then every claim.

python benchmarks/gpu_suite.py

Each benchmarks/gpu_*.py is run; it prints a JSON row a measurement, which goes to
benchmarks/results/gpu.jsonl with hardware and versions. Exit status: 0 all ran, 1 a test or a
benchmark failed, 2 there is no GPU here.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from recording import RESULTS, machine

HERE = Path(__file__).parent
ARGUMENTS = {"gpu_zoo.py": ["check", "aggregate", "step", "forms"]}  # a run each


def commands() -> list[list[str]]:
    """A file and its argument, if any, of each run."""
    files = sorted(p.name for p in HERE.glob("gpu_*.py") if p != Path(__file__))
    runs = [[name, argument] for name in files for argument in ARGUMENTS.get(name, [""])]
    return [[part for part in run if part] for run in runs]


def measure(command: list[str]) -> bool:
    """Runs a benchmark and appends its rows; False if it failed."""
    print("$", *command, flush=True)
    with subprocess.Popen(
        [sys.executable, *command], cwd=HERE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("{"):
                append(json.loads(line))
    return process.returncode == 0


def append(row: dict) -> None:
    where = {**machine(), "cuda": torch.version.cuda}
    with (RESULTS / "gpu.jsonl").open("a") as file:
        file.write(json.dumps({**row, **where}) + "\n")


def main() -> int:
    if not torch.cuda.is_available():
        print("no GPU here: nothing was checked or measured", file=sys.stderr)
        return 2
    tests = [sys.executable, "-m", "pytest", "-q", str(HERE.parent / "tests")]
    if subprocess.run(tests, cwd=HERE.parent, check=False).returncode:
        print("tests fail on this GPU: nothing was measured", file=sys.stderr)
        return 1
    failed = [command for command in commands() if not measure(command)]
    if failed:
        print("failed:", *map(" ".join, failed), sep="\n", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
