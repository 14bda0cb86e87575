"""A hub as a YAML or TOML file: a list of models with names, notes and licences."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from hubfast.hub.model import Keys
from hubfast.hub.transformers.options import split_options
from hubfast.utils.documents import read_toml, read_yaml
from hubfast.utils.names import brief

SUFFIXES = (".yaml", ".yml", ".toml")
KEYS = (
    *("model", "name", "note", "licence", "license"),
    *("imagenet", "preprocessing", "arguments", "keys"),
)
TEXTS = ("name", "note", "licence", "license")


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
    content = read_toml(path) if path.suffix == ".toml" else read_yaml(path)
    models = content.get("models") if isinstance(content, Mapping) else content
    if not isinstance(models, list) or not models:
        keys = f"; its keys are {brief(list(content))}" if isinstance(content, Mapping) else ""
        raise ValueError(f"{path} must hold a list 'models', got {type(models).__name__}{keys}")
    return [_entry(item, f"model {i} of {path}", path.parent) for i, item in enumerate(models, 1)]


def _entry(item: Any, where: str, folder: Path) -> Entry:
    table: Any = {"model": item} if isinstance(item, str) else item
    if not isinstance(table, Mapping) or not isinstance(table.get("model"), str):
        raise ValueError(f"{where} must be a spec or a table with 'model', got {brief(item)}")
    if unknown := [key for key in table if key not in KEYS]:
        raise ValueError(f"{where} may have the keys {KEYS}, got {brief(unknown)}")
    if not table["model"].strip():
        raise ValueError(f"model of {where} must be a spec, got {table['model']!r}")
    for key in TEXTS:
        _check_text(table.get(key), f"{key} of {where}")
    if table.get("name") is not None and not table["name"].strip():
        raise ValueError(f"name of {where} must not be empty, got {table['name']!r}")
    for key in ("preprocessing", "arguments"):
        if not isinstance(table.get(key) or {}, Mapping):
            raise ValueError(f"{key} of {where} must be a table, got {brief(table[key])}")
    keys = table.get("keys", "by_name")
    if keys not in get_args(Keys):
        raise ValueError(f"keys of {where} must be one of {get_args(Keys)}, got {brief(keys)}")
    if "keys" in table and not (table["model"].startswith("timm:") and "@" in table["model"]):
        raise ValueError(f"keys of {where} is for timm:NAME@FILE, got {table['model']!r}")
    accuracy = table.get("imagenet")
    number = isinstance(accuracy, int | float) and not isinstance(accuracy, bool)
    if accuracy is not None and not (number and 0 < accuracy <= 100):
        raise ValueError(f"imagenet of {where} must be a percentage, got {brief(accuracy)}")
    return Entry(
        model=_from_folder(table["model"], folder),
        written=table["model"],
        name=table.get("name"),
        note=table.get("note") or "",
        licence=table.get("licence") or table.get("license") or "",
        imagenet=accuracy,
        preprocessing=table.get("preprocessing"),
        arguments=table.get("arguments"),
        keys=keys,
    )


def _check_text(value: Any, what: str) -> None:
    if value is not None and not isinstance(value, str):
        raise ValueError(
            f"{what} must be text, got {brief(value)} ({type(value).__name__}); put it in quotes"
        )


def _from_folder(spec: str, folder: Path) -> str:
    """`spec` with a path that exists in `folder` taken from there."""
    start, mark, rest = spec.partition("@" if spec.startswith("timm:") else ":")
    if not mark:
        start, rest = "", spec
    head, slash, entry = rest.rpartition("/") if start == "torchhub" else (rest, "", "")
    if start == "hf":
        head, entry = split_options(rest)
        slash = "?" if entry else ""
    if head and _exists(folder, head):
        return f"{start}{mark}{folder / head}{slash}{entry}"
    return spec


def _exists(folder: Path, name: str) -> bool:
    """Whether `name`, which may have the marks of a query, is a file below `folder`."""
    try:
        return not Path(name).is_absolute() and any(folder.glob(name))
    except (ValueError, NotImplementedError, IndexError, OSError):  # no pattern, nor a name
        return False
