"""The file of measured choices of a GPU, as `hubfast.ops.choices` reads it."""

import json
from pathlib import Path
from typing import Any

from gpu.choosing import OWN
from gpu.figures import latest
from gpu.forward import FOLDED, LAST

USUAL_BATCH = 64  # hubfast.nn.inference.BATCH_ON_GPU


def tables(rows: list[dict]) -> dict[str, dict[str, Any]]:
    """The tables: where a candidate beat hubfast's own choice by more than repeats differ."""
    found: dict[str, dict[str, Any]] = {}
    kept = [row for attempt in latest(rows).values() for row in attempt]
    for row in kept:
        choice = row.get("choice")
        if choice is None or choice["winner"] == OWN:
            continue
        if choice["key"] is None:
            found[choice["table"]] = choice["value"]
        else:
            found.setdefault(choice["table"], {})[choice["key"]] = choice["value"]
    if inference := _inference([row for row in kept if row.get("what") == "forward"]):
        found["inference"] = inference
    return found


def _inference(rows: list[dict]) -> dict[str, Any]:
    """The batch size, and per precision whether convolutions are channels last, over all models."""
    found: dict[str, Any] = {}
    for dtype in sorted({row["dtype"] for row in rows}):
        mine = [r for r in rows if r["dtype"] == dtype and {FOLDED, LAST} <= set(r["ms"])]
        last, folded = ([row["ms"][form] for row in mine] for form in (LAST, FOLDED))
        if mine and _less(last, folded):
            found[f"channels_last_{dtype}"] = True
        elif mine and _less(folded, last):
            found[f"channels_last_{dtype}"] = False
    sizes = sorted({row["batch"] for row in rows})
    by_size = {size: _per_image(rows, size) for size in sizes}
    usual = by_size.get(USUAL_BATCH)
    if usual:
        better = [
            n for n, times in by_size.items() if len(times) == len(usual) and _less(times, usual)
        ]
        if better:
            found["batch_size"] = min(better, key=lambda n: sum(t[0] for t in by_size[n]))
    return found


def _per_image(rows: list[dict], size: int) -> list[list[float]]:
    """Of each model in float32: median, least and most milliseconds per image."""
    mine = [row for row in rows if row["batch"] == size and row["dtype"] == "float32"]
    return [[ms / size for ms in row["ms"][LAST]] for row in mine if LAST in row["ms"]]


def _less(these: list[list[float]], those: list[list[float]]) -> bool:
    """Whether even the most of these is less than the least of those, in sum."""
    return sum(high for *_, high in these) < sum(low for _, low, _ in those)


def write(folder: Path, rows: list[dict], machine: dict) -> Path:
    """Writes the file of this GPU from the rows that were measured on it; returns its path."""
    from hubfast.ops.choices import file_name

    path = folder / file_name(machine["gpu"])
    given = {key: machine.get(key) for key in ("gpu", "torch", "triton", "date", "code")}
    part = path.with_suffix(".part")
    part.write_text(json.dumps({**given, "tables": tables(rows)}, indent=1) + "\n")
    part.replace(path)
    return path
