"""The rows of a run: written as they come, read again by a run that goes on."""

import json
import os
import time
from pathlib import Path

from gpu.jobs import Job

ROWS, LOG, REPORT = "rows.jsonl", "log.txt", "report.md"
MOST_BYTES = 15 * 2**20  # of a file
SAME = ("gpu", "torch", "triton")  # of the machine, for rows to stand beside each other


class Rows:
    """All rows, with the machine that each was measured on.

    Args:
        folder: Where the rows and the log lie; made if it is missing.
        earlier: Rows of another folder's run to go on from; None for those of `folder`.
    """

    def __init__(self, folder: Path, earlier: Path | None = None):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.log = folder / ROWS, folder / LOG
        self.rows = read(earlier or self.path)
        # Again, without a last line that was cut off
        self.path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        self.machine: dict = {}

    def add(self, job: Job, row: dict) -> None:
        """Writes a row of a measurement."""
        row = {"job": job.key, **row, "machine": self.machine}
        self.rows.append(row)
        line = json.dumps(row) + "\n"
        if self.path.exists() and self.path.stat().st_size + len(line) > MOST_BYTES:
            raise OSError(f"{self.path} must stay under {MOST_BYTES} bytes")
        with self.path.open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def note(self, text: str) -> None:
        """Writes a line to the log and to the terminal."""
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, flush=True)
        with self.log.open("a") as file:
            file.write(line + "\n")

    def comparable(self) -> list[dict]:
        """The rows that were measured on a machine like this one."""
        return alike(self.rows, self.machine)

    def status(self) -> dict[str, dict]:
        """How each measurement ended the last time it ran on a machine like this one."""
        return {row["job"]: row for row in self.comparable() if "status" in row}


def alike(rows: list[dict], machine: dict) -> list[dict]:
    """The rows that were measured on a machine like this one: GPU, torch, Triton."""
    wanted = [machine.get(key) for key in SAME]
    return [r for r in rows if [r.get("machine", {}).get(key) for key in SAME] == wanted]


def read(path: Path) -> list[dict]:
    """The rows of a file, without a last one that was cut off; none where there is no file.

    Raises:
        ValueError: Another line than the last is not a row.
    """
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or "job" not in row:
                raise ValueError("no job is named")
        except ValueError as error:
            if number == len(lines):
                break
            raise ValueError(f"line {number} of {path} must be a row: {error}") from error
        rows.append(row)
    return rows
