"""Hashes of files are remembered, and never those of a former state."""

import hashlib
import os
import time

import pytest

from hubfast.utils import file_hashes
from hubfast.utils.file_hashes import FileHashes


def settled(path, content):
    """A file whose content changed a minute ago."""
    path.write_bytes(content)
    os.utime(path, (time.time() - 60,) * 2)
    return hashlib.sha256(content).digest()


@pytest.fixture
def reads(monkeypatch):
    """Counts the files that are read, and lets every file count as settled."""
    monkeypatch.setattr(file_hashes, "FRESH", -1)
    found = []
    digest = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda f, kind: found.append(f.name) or digest(f, kind)
    )
    return found


def test_a_file_is_read_once_over_runs(tmp_path, reads):
    wanted = settled(tmp_path / "a", b"one")
    first = FileHashes(tmp_path / "kept" / "hashes.bin")
    assert first.of(tmp_path / "a") == first.of(str(tmp_path / "a")) == wanted
    first.save()
    assert FileHashes(tmp_path / "kept" / "hashes.bin").of(tmp_path / "a") == wanted
    assert len(reads) == 1
    assert FileHashes().of(tmp_path / "a") == wanted
    assert len(reads) == 2


def test_a_changed_file_is_read_again(tmp_path, reads):
    """Also one of the same length with its time of change set back: its status has changed."""
    hashes, path = FileHashes(), tmp_path / "a"
    former = settled(path, b"one")
    stat = path.stat()
    assert hashes.of(path) == former
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    assert hashes.of(path) == hashlib.sha256(b"two").digest()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        hashes.of(path)


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path):
    """It may change again at the same time: file clocks tick some hundred times a second."""
    hashes, path = FileHashes(), tmp_path / "a"
    for number in range(300):
        content = b"%08d" % number
        path.write_bytes(content)
        assert hashes.of(path) == hashlib.sha256(content).digest()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"something else",
    ],
)
def test_a_damaged_memory_is_ignored(tmp_path, reads, damage):
    wanted, kept = settled(tmp_path / "a", b"one"), tmp_path / "hashes.bin"
    first = FileHashes(kept)
    first.of(tmp_path / "a")
    first.save()
    kept.write_bytes(damage(kept.read_bytes()))
    again = FileHashes(kept)
    assert again.of(tmp_path / "a") == wanted
    assert len(reads) == 2
    again.save()
    assert FileHashes(kept).of(tmp_path / "a") == wanted
    assert len(reads) == 2


def test_two_that_save_keep_both(tmp_path, reads):
    kept = tmp_path / "hashes.bin"
    both = [FileHashes(kept), FileHashes(kept)]
    for name, hashes in zip("ab", both, strict=True):
        settled(tmp_path / name, name.encode())
        hashes.of(tmp_path / name)
    for hashes in both:
        hashes.save()
    again = FileHashes(kept)
    assert [again.of(tmp_path / name) for name in "ab"] == [
        hashlib.sha256(name.encode()).digest() for name in "ab"
    ]
    assert len(reads) == 2


def test_saving_now_and_then(tmp_path, reads):
    settled(tmp_path / "a", b"one")
    hashes = FileHashes(tmp_path / "hashes.bin")
    hashes.of(tmp_path / "a")
    hashes.save(every=60)
    assert not (tmp_path / "hashes.bin").exists()
    hashes.save()
    assert (tmp_path / "hashes.bin").exists()


def test_what_is_new_is_kept_at_the_end(tmp_path, reads):
    settled(tmp_path / "a", b"one")
    hashes = FileHashes(tmp_path / "hashes.bin")
    hashes.of(tmp_path / "a")
    del hashes
    assert len(FileHashes(tmp_path / "hashes.bin").of(tmp_path / "a")) == 32
    assert len(reads) == 1


def test_the_oldest_are_forgotten(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(file_hashes, "MOST", 2)
    hashes = FileHashes(tmp_path / "hashes.bin")
    for name in "abc":
        settled(tmp_path / name, name.encode())
        hashes.of(tmp_path / name)
    hashes.save()
    again = FileHashes(tmp_path / "hashes.bin")
    for name in "cba":
        again.of(tmp_path / name)
    assert len(reads) == 4


def test_a_place_that_cannot_be_written_is_no_fault(tmp_path):
    (tmp_path / "file").write_text("")
    hashes = FileHashes(tmp_path / "file" / "hashes.bin")
    assert hashes.of(tmp_path / "file") == hashlib.sha256(b"").digest()
    hashes.save()
