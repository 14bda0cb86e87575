"""Entries of a cache on their way to a machine that shares no folder with this one."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hubfast.extraction.entry import CacheEntry, canonical, sealed, unsealed
from hubfast.utils.file_hashes import FileHashes


class Parcels:
    """Stands for a cache: holds what is put in it, as the bytes of files, until it is sent off."""

    def __init__(self) -> None:
        self.hashes = FileHashes()
        self._held: dict[str, bytes] = {}

    def get(self, key: Mapping[str, Any]) -> CacheEntry | None:
        """What is held under `key`; None where nothing is."""
        text = canonical(key)
        return unsealed(self._held[text], text) if text in self._held else None

    def put(
        self, key: Mapping[str, Any], tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> None:
        """Holds copies of `tensors`, and `facts`, under `key`."""
        text = canonical(key)
        self._held[text] = b"".join(sealed(text, tensors, facts))

    def delete(self, key: Mapping[str, Any]) -> None:
        """Forgets what is held under `key`, if anything is."""
        self._held.pop(canonical(key), None)

    def look_again(self, key: Mapping[str, Any]) -> None:
        """Does nothing: what is held is always found."""

    def __contains__(self, key: Mapping[str, Any]) -> bool:
        """Whether something is held under `key`."""
        return canonical(key) in self._held

    def take(self) -> tuple[bytes, ...]:
        """Everything that is held, which is then forgotten."""
        found = (*self._held.values(),)
        self._held.clear()
        return found
