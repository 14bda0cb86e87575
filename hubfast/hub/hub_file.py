"""A hub as a YAML or TOML file: a list of models with names, notes and licences."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from hubfast.hub.model import Keys

SUFFIXES = (".yaml", ".yml", ".toml")
KEYS = (
    *("model", "name", "note", "licence", "license"),
    *("imagenet", "preprocessing", "arguments", "keys"),
)


@dataclass(frozen=True)
class Entry:
    """A model as a hub file describes it; only `model` must be there."""

    model: str
    written: str  # `model` before its path was taken from the file's folder
    name: str | None = None
    note: str = ""
    licence: str = ""
    imagenet: float | None = None  # top-1 accuracy, percent
    preprocessing: Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] | None = None
    keys: Keys = "by_name"


def read_hub_file(path: str | Path) -> list[Entry]:
    """Reads the entries of `models:`, which are specs or tables with the keys of `Entry`.

    Relative paths in specs are taken from the file's own folder. A file cannot declare itself
    trusted: only its reader can.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file does not hold a list of models; the message says where.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"hub file not found: {path}")
    content = _parsed(path)
    models = content.get("models") if isinstance(content, Mapping) else content
    if not isinstance(models, list) or not models:
        keys = f"; its keys are {list(content)}" if isinstance(content, Mapping) else ""
        raise ValueError(f"{path} must hold a list 'models', got {type(models).__name__}{keys}")
    return [_entry(item, f"model {i} of {path}", path.parent) for i, item in enumerate(models, 1)]


def _parsed(path: Path) -> Any:
    import yaml  # used only to load data, by its safe loader

    try:
        if path.suffix == ".toml":
            return tomllib.loads(path.read_text())
        return yaml.safe_load(path.read_text())
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _entry(item: Any, where: str, folder: Path) -> Entry:
    table: Any = {"model": item} if isinstance(item, str) else item
    if not isinstance(table, Mapping) or not isinstance(table.get("model"), str):
        raise ValueError(f"{where} must be a spec or a table with 'model', got {item!r}")
    if unknown := sorted(set(table) - {*KEYS}):
        raise ValueError(f"{where} may have the keys {KEYS}, got {unknown}")
    for key in ("preprocessing", "arguments"):
        if not isinstance(table.get(key, {}), Mapping):
            raise ValueError(f"{key} of {where} must be a table, got {table[key]!r}")
    keys = table.get("keys", "by_name")
    if keys not in get_args(Keys):
        raise ValueError(f"keys of {where} must be one of {get_args(Keys)}, got {keys!r}")
    if "keys" in table and not (table["model"].startswith("timm:") and "@" in table["model"]):
        raise ValueError(f"keys of {where} is for timm:NAME@FILE, got {table['model']!r}")
    accuracy = table.get("imagenet")
    number = isinstance(accuracy, int | float) and not isinstance(accuracy, bool)
    if accuracy is not None and not (number and 0 < accuracy <= 100):
        raise ValueError(f"imagenet of {where} must be a percentage, got {accuracy!r}")
    return Entry(
        model=_from_folder(table["model"], folder),
        written=table["model"],
        name=table.get("name"),
        note=str(table.get("note", "")),
        licence=str(table.get("licence", table.get("license", ""))),
        imagenet=accuracy,
        preprocessing=table.get("preprocessing"),
        arguments=table.get("arguments"),
        keys=keys,
    )


def _from_folder(spec: str, folder: Path) -> str:
    """`spec` with a path that exists in `folder` taken from there."""
    start, mark, rest = spec.partition("@" if spec.startswith("timm:") else ":")
    if not mark:
        start, rest = "", spec
    head, slash, entry = rest.rpartition("/") if start == "torchhub" else (rest, "", "")
    if head and _exists(folder, head):
        return f"{start}{mark}{folder / head}{slash}{entry}"
    return spec


def _exists(folder: Path, name: str) -> bool:
    return any(folder.glob(name)) if not Path(name).is_absolute() else False
