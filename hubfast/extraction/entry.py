"""An entry of a cache as the bytes of a file, which tell whether they are what was written.

It is a safetensors file. Its metadata hold the key, the facts and a checksum, which is the sha256
of the whole file with zeros in the place of the checksum.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from hubfast.utils.file_hashes import FileHashes

if TYPE_CHECKING:  # torch is slow to import, and reading a description needs none of it
    from torch import Tensor

FORMAT = "hubfast.Cache/1"
UNSEALED = "0" * 64  # stands where the checksum will
LENGTH = 8  # bytes that tell the length of the header, little-endian
LONGEST = 64 << 20  # bytes of a header; that of no entry is longer


class DamagedError(ValueError):
    """A file does not hold what was written to it."""


@dataclass(frozen=True, eq=False)
class CacheEntry:
    """What was kept: tensors by name, on the CPU, and facts that JSON can hold."""

    tensors: dict[str, "Tensor"]
    facts: dict[str, Any]


@dataclass(frozen=True)
class CachedFile:
    """A file of a cache, whose tensors are not read.

    Attributes:
        path: Where it is.
        size: Its size in bytes.
        used: When it was written or last read, in seconds since 1970.
        key: What it was computed from; None where the file is damaged.
        facts: What was kept beside the tensors.
    """

    path: Path
    size: int
    used: float
    key: dict[str, Any] | None
    facts: dict[str, Any]


class EntryStore(Protocol):
    """Where entries are kept: a `hubfast.extraction.cache.Cache`, or what stands for one."""

    @property
    def hashes(self) -> FileHashes:
        """Hashes of files that are known."""
        ...

    def get(self, key: Mapping[str, Any]) -> CacheEntry | None:
        """What is kept under `key`; None where nothing is."""
        ...

    def put(
        self, key: Mapping[str, Any], tensors: Mapping[str, "Tensor"], facts: Mapping[str, Any]
    ) -> None:
        """Keeps copies of `tensors`, and `facts`, under `key`."""
        ...

    def delete(self, key: Mapping[str, Any]) -> None:
        """Deletes what is kept under `key`, if anything is."""
        ...

    def look_again(self, key: Mapping[str, Any]) -> None:
        """Makes sure that an entry is found which another machine has just made."""
        ...

    def __contains__(self, key: Mapping[str, Any]) -> bool:
        """Whether there is an entry under `key`."""
        ...


def canonical(key: Mapping[str, Any]) -> str:
    """The one text of a key, in which the order of its parts does not count.

    Raises:
        TypeError, ValueError: JSON cannot hold the key.
    """
    return json.dumps(key, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sealed(
    key: str, tensors: Mapping[str, "Tensor"], facts: Mapping[str, Any]
) -> tuple[bytes, memoryview]:
    """The header and the rest of the file of an entry.

    Raises:
        TypeError, ValueError: JSON cannot hold the facts, or a tensor is not dense.
    """
    import torch
    from safetensors.torch import save

    copies = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    described = {
        "format": FORMAT,
        "key": key,
        "facts": json.dumps(facts, allow_nan=False),
        "checksum": UNSEALED,
    }
    content = memoryview(save(copies, described))
    end = LENGTH + int.from_bytes(content[:LENGTH], "little")
    head, rest = bytes(content[:end]), content[end:]
    # Quotes inside the key and the facts are escaped, so this stands in one place only.
    open_place, place = (f'"checksum":"{seal}"'.encode() for seal in (UNSEALED, _seal(head, rest)))
    return head.replace(open_place, place), rest


def unsealed(content: bytes, key: str) -> CacheEntry:
    """The entry that is kept under `key`.

    Raises:
        DamagedError: The bytes are others than were written, or of another key.
    """
    import torch
    from safetensors.torch import load

    described = verified(content)
    if described["key"] != key:
        raise DamagedError("it holds the entry of another key")
    with torch.device("cpu"):  # whatever the user's default is
        return CacheEntry(load(content), json.loads(described["facts"]))


def verified(content: bytes) -> dict[str, str]:
    """The metadata of an entry all of whose bytes are those that were written.

    Raises:
        DamagedError: They are not.
    """
    head = content[: LENGTH + int.from_bytes(content[:LENGTH], "little")]
    described = _described(head[LENGTH:])
    seal = described["checksum"]
    plain = head.replace(f'"checksum":"{seal}"'.encode(), f'"checksum":"{UNSEALED}"'.encode())
    if _seal(plain, memoryview(content)[len(head) :]) != seal:
        raise DamagedError("its checksum is wrong")
    return described


def description(file: BinaryIO) -> tuple[dict[str, Any], dict[str, Any]]:
    """The key and the facts of an entry, whose tensors are neither read nor verified.

    Raises:
        DamagedError: The file begins as no entry does.
    """
    length = int.from_bytes(file.read(LENGTH), "little")
    described = _described(file.read(min(length, LONGEST)))
    try:
        return json.loads(described["key"]), json.loads(described["facts"])
    except (ValueError, RecursionError) as error:
        raise DamagedError("its description is cut off") from error


def _described(header: bytes) -> dict[str, str]:
    if not header:
        raise DamagedError("it is empty")
    try:
        described = json.loads(header)["__metadata__"]
        if described["format"] == FORMAT and {"key", "facts", "checksum"} <= described.keys():
            return described
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError("it is cut off, or of another kind") from error
    raise DamagedError(f"it is not of {FORMAT}")


def _seal(head: bytes, rest: memoryview) -> str:
    found = hashlib.sha256(head)
    found.update(rest)
    return found.hexdigest()
