"""A ranking that is killed goes on where it was, and two at once do each other no harm."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "killed_ranking.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_at_random_points():
    command = [sys.executable, str(SCRIPT), "--kills", "5"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = found.stdout.splitlines()
    assert len(lines) == 6, found.stderr
    assert all(line.endswith("same: True") for line in lines), found.stdout
    assert all(int(re.search(r"(\d+) samples twice", line)[1]) <= 1024 for line in lines[:5])
    assert found.returncode == 0
