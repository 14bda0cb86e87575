"""Tensors kept in files that are named by what they were computed from.

The files are the truth: there is no index. A file is written beside its place, brought to the disk
and renamed, so that it is whole or not there; its checksum is verified whenever it is read.
"""

import hashlib
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubfast.extraction.entry import (
    FORMAT,
    CachedFile,
    CacheEntry,
    DamagedError,
    canonical,
    description,
    sealed,
    unsealed,
    verified,
)
from hubfast.extraction.running import DAY, announce, running_since
from hubfast.utils.file_hashes import FileHashes
from hubfast.utils.files import replacing
from hubfast.utils.user_cache import user_cache

if TYPE_CHECKING:  # torch is slow to import, and listing a cache needs none of it
    from torch import Tensor

HOUR = 3600.0  # seconds, in which what was touched is not pruned
NAMES = f"[0-9a-f][0-9a-f]/{'[0-9a-f]' * 64}.safetensors"
PARTIAL = "[0-9a-f][0-9a-f]/.*.partial.safetensors"


@dataclass(frozen=True)
class Pruned:
    """What `Cache.prune` did.

    Attributes:
        deleted: Number of entries deleted.
        freed: Their size in bytes.
        left: Size in bytes of the entries that are left.
        in_use: Number of entries that could not be deleted, since they are in use.
    """

    deleted: int
    freed: int
    left: int
    in_use: int


def default_folder() -> Path:
    """The folder `features` of `HUBFAST_CACHE`, or of hubfast's folder in the user's cache."""
    return user_cache("features")


class Cache:
    """A folder of entries, which any number of threads, processes and machines may share.

    What goes wrong with a file is said by a warning and never raised: a damaged entry is deleted
    and counts as missing; where the folder cannot be written, that is said once, and entries are
    only read.

    Args:
        folder: It is made when the first entry is written.

    Attributes:
        writable: Whether entries are still written.
        hashes: Hashes of files, kept in the folder from run to run.

    Raises:
        ValueError: `folder` is a file, or lies below one.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).expanduser().absolute()
        places = (self.folder, *self.folder.parents)
        blocking = next((place for place in places if os.path.exists(place)), None)
        if blocking is not None and not os.path.isdir(blocking):
            raise ValueError(f"cache_dir must be a folder, got {folder}: {blocking} is a file")
        self.writable = True
        self.hashes = FileHashes(self.folder / "file-hashes.bin")
        self._announced = False
        self._said: set[str] = set()

    def get(self, key: Mapping[str, Any]) -> CacheEntry | None:
        """What is kept under `key`, verified; None where nothing is.

        Raises:
            TypeError, ValueError: JSON cannot hold the key.
        """
        text = canonical(key)
        path = self._path(text)
        try:
            entry = unsealed(path.read_bytes(), text)
        except FileNotFoundError:
            return None
        except DamagedError as error:
            warnings.warn(_discarded(path, error), stacklevel=2)
            return None
        except OSError as error:
            self._say_once("read", f"the cache cannot be read, so all is computed anew: {error}")
            return None
        self._announce()
        _touch(path)
        return entry

    def put(
        self, key: Mapping[str, Any], tensors: Mapping[str, "Tensor"], facts: Mapping[str, Any]
    ) -> None:
        """Keeps copies of `tensors`, of any dtype, device and shape, and `facts` under `key`.

        The last of several entries under one key stays.

        Raises:
            TypeError, ValueError: JSON cannot hold the key or the facts, or a tensor is not dense.
        """
        text = canonical(key)
        self._write(text, *sealed(text, tensors, facts))

    def install(self, content: bytes) -> None:
        """Keeps an entry as the bytes that another process has sealed.

        Raises:
            DamagedError: They are not all that was sealed.
        """
        self._write(verified(content)["key"], content)

    def delete(self, key: Mapping[str, Any]) -> None:
        """Deletes what is kept under `key`, if anything is and may be."""
        with suppress(OSError):
            self._path(canonical(key)).unlink(missing_ok=True)

    def look_again(self, key: Mapping[str, Any]) -> None:
        """Lists the folder of an entry.

        A network's file system may remember for a minute that a file was not there; a listing
        shows what other machines have made since.
        """
        with suppress(OSError):
            os.listdir(self._path(canonical(key)).parent)

    def __contains__(self, key: Mapping[str, Any]) -> bool:
        """Whether there is an entry under `key`, be it damaged or not."""
        return self._path(canonical(key)).exists()

    def entries(self) -> Iterator[CachedFile]:
        """Gives every file of the cache, in no order; only its description is read."""
        for path in self.folder.glob(NAMES):
            key: dict[str, Any] | None = None
            facts: dict[str, Any] = {}
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process has just pruned it
                continue
            with suppress(DamagedError, OSError), path.open("rb") as file:
                key, facts = description(file)
            yield CachedFile(path, stat.st_size, stat.st_mtime, key, facts)

    def verify(self) -> list[str]:
        """Reads every file, deletes those that are damaged, and says which these are and why."""
        found = []
        for path in sorted(self.folder.glob(NAMES)):
            try:
                if self._path(verified(path.read_bytes())["key"]) != path:
                    raise DamagedError("it holds the entry of another key")
            except FileNotFoundError:  # another process has just pruned it
                continue
            except DamagedError as error:
                found.append(_discarded(path, error))
            except OSError as error:
                found.append(f"{path} cannot be read: {error.strerror}")
        return found

    def prune(self, max_size: int) -> Pruned:
        """Deletes entries, those unused for longest first, until all have at most `max_size` bytes.

        What was written or read in the last hour is kept in any case, and so is what was since the
        first of the processes began that still use the cache.

        Raises:
            ValueError: `max_size` is negative.
            OSError: An entry may not be deleted.
        """
        if max_size < 0:
            raise ValueError(f"max_size must be at least 0 bytes, got {max_size}")
        self._remove_partial()
        files = sorted(self.entries(), key=lambda file: file.used)
        since = min(time.time() - HOUR, running_since(self.folder / "running"))
        in_use = sum(file.used >= since for file in files)
        left, deleted, freed = sum(file.size for file in files), 0, 0
        for file in files[: len(files) - in_use]:
            if left <= max_size:
                break
            if _touched(file):
                in_use += 1
                continue
            file.path.unlink(missing_ok=True)
            left, deleted, freed = left - file.size, deleted + 1, freed + file.size
        return Pruned(deleted, freed, left, in_use)

    def _write(self, key: str, *parts: bytes | memoryview) -> None:
        path = self._path(key)
        self._announce()
        if not self.writable:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, durable=True) as partial, partial.open("wb") as file:
                for part in parts:
                    file.write(part)
        except OSError as error:
            self._only_read(error)

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(f"{FORMAT}\n{key}".encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def _announce(self) -> None:
        """Makes this process known before it uses its first entry."""
        if not self._announced and self.writable:
            self._announced = True
            try:
                announce(self, self.folder / "running")
                self._remove_partial()
            except OSError as error:  # a folder that may only be read
                self._only_read(error)

    def _remove_partial(self) -> None:
        """Deletes what processes left that were killed while they wrote."""
        for path in self.folder.glob(PARTIAL):
            try:
                if time.time() - path.stat().st_mtime > DAY:
                    path.unlink()
            except OSError:  # it is gone, or another user's
                continue

    def _only_read(self, error: OSError) -> None:
        self.writable = False
        self._say_once("write", f"the cache cannot be written, so nothing more is kept: {error}")

    def _say_once(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            warnings.warn(text, stacklevel=4)


def _discarded(path: Path, error: DamagedError) -> str:
    """Deletes a damaged file, where that is allowed; says so."""
    try:
        path.unlink(missing_ok=True)
        return f"the cached file {path} is damaged ({error}) and was deleted"
    except OSError as refused:
        return f"the cached file {path} is damaged ({error}) and cannot be deleted: {refused}"


def _touch(path: Path) -> None:
    """Notes that an entry was used by its time of change, which other programs' reading leaves."""
    with suppress(OSError):  # the folder may only be read
        os.utime(path)


def _touched(file: CachedFile) -> bool:
    """Whether somebody has used a file since it was listed."""
    try:
        return file.path.stat().st_mtime != file.used
    except FileNotFoundError:
        return False
