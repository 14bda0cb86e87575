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
    """Resources of the kernels of some parts; skips the test if this Triton has no compiler.

    It runs in a process of its own, since this one may run Triton's interpreter.

    Args:
        folder: An empty folder for Triton's cache.
        parts: Names of parts of the script, such as `"zoo"`.
        capabilities: Compute capabilities to compile for, such as 90.
    """
    triton = pytest.importorskip("triton", reason="triton is not installed")
    if not triton.backends.backends:
        pytest.skip("this triton has no compiler")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(hubfast.__file__).parents[1]), *sys.path]),
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(folder),
    }
    chosen = ["--parts", *parts, "--sm", *map(str, capabilities)]
    done = subprocess.run(
        [sys.executable, SCRIPT, *chosen, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
