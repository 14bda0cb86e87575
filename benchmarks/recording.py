"""Appends measurements to benchmarks/results, with the machine they were made on."""

import datetime
import json
import os
import platform
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def record(config, row: dict) -> None:
    """Writes one measurement, if pytest was called with --record."""
    if config.getoption("--record"):
        name = "gpu.jsonl" if torch.cuda.is_available() else "cpu.jsonl"
        with (RESULTS / name).open("a") as file:
            file.write(json.dumps(on_machine(row)) + "\n")


def on_machine(row: dict) -> dict:
    """The row with what it was measured on.

    Raises:
        ValueError: A field of the row would be overwritten.
    """
    found = machine()
    if clash := row.keys() & found.keys():
        raise ValueError(f"a row must leave {sorted(clash)} to the machine")
    return {**row, **found}


def machine() -> dict:
    """What the numbers were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }
