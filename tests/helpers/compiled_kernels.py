"""Compiles the Triton kernels for GPUs that are not there, by benchmarks/kernel_resources.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hubfast

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kernel_resources.py"


def compiled(folder: Path, *parts: str, capabilities: tuple[int, ...]) -> list[dict[str, Any]]:
    """The kernels of some parts, fields as in `absent_gpu.Kernel`.

    It runs in a process of its own, since this one may run Triton's interpreter, and skips the
    test where Triton has no compiler.

    Args:
        folder: An empty folder for Triton's cache.
        parts: Names of parts of the script, such as `"zoo"`.
        capabilities: Compute capabilities to compile for, such as 90.
    """
    chosen = ["--parts", *parts, "--sm", *map(str, capabilities)]
    return json.loads(without_interpreter(folder, SCRIPT, *chosen, "--json"))


def without_interpreter(folder: Path, *command: str | Path) -> str:
    """What a Python command prints in a process where Triton compiles.

    Args:
        folder: An empty folder for Triton's cache.
        command: Arguments of Python, such as a script and its options.
    """
    triton = pytest.importorskip("triton", reason="triton is not installed")
    if not triton.backends.backends:
        pytest.skip("this triton has no compiler")
    paths = [str(Path(hubfast.__file__).parents[1]), str(SCRIPT.parent), *sys.path]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(folder),
    }
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
