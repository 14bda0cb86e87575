"""The file of a FeatureStatistics: tensors as safetensors, and facts as JSON beside them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from hubfast.utils.files import replacing

FORMAT = "hubfast.FeatureStatistics/1"
FACTS = ("task", "count", "resolution")  # attributes that are no tensors
SCALE = {
    "exponent": 0,
    "largest": 1.0,
}  # further ones, and their values in files of former versions


def packed(attributes: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a FeatureStatistics.

    Args:
        attributes: Its attributes; the kept rows are one block, or in `_gram`.
    """
    tensors = {name: value for name, value in attributes.items() if isinstance(value, Tensor)}
    if attributes["_rows"]:
        (tensors["rows"],) = attributes["_rows"]
        (tensors["row_targets"],) = attributes["_row_targets"]
    else:
        tensors["gram"] = tensors.pop("_gram")
    facts = {name: attributes[name] for name in (*FACTS, *SCALE)}
    return {name: x.contiguous() for name, x in tensors.items()}, {"format": FORMAT, **facts}


def unpacked(
    tensors: Mapping[str, Tensor], facts: Mapping[str, Any], device: str
) -> dict[str, Any]:
    """The attributes whose `packed` form this is, with tensors on `device`."""
    held = {name: x.to(device) for name, x in tensors.items()}
    rows, targets = ([held.pop(name)] if name in held else [] for name in ("rows", "row_targets"))
    attributes = {name: facts[name] for name in FACTS} | {"width": len(held["feature_sum"])}
    attributes |= {name: facts.get(name, usual) for name, usual in SCALE.items()}
    kept = {"_gram": held.pop("gram", None), "_rows": rows, "_row_targets": targets}
    return attributes | kept | held


def write(path: str | Path, tensors: dict[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Writes a safetensors file, whole or not at all."""
    with replacing(path) as partial:
        save_file(tensors, partial, metadata={"hubfast": json.dumps(facts, allow_nan=False)})


def read(path: str | Path, device: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the tensors, on `device`, and the facts that `write` wrote.

    Raises:
        ValueError: The file holds something else.
    """
    with safe_open(path, "pt", device=device) as file:
        facts = json.loads((file.metadata() or {}).get("hubfast", "{}"))
        if facts.get("format") != FORMAT:
            raise ValueError(f"{path} does not hold {FORMAT}")
        return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
