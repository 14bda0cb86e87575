"""What is put into the cache comes back to the last bit, or counts as missing and is said."""

import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.extraction.cache import HOUR, Cache, default_folder
from hubfast.extraction.entry import canonical
from hubfast.extraction.running import DAY

KEY = {"model": "resnet18", "block": "ab" * 32, "mean": [0.485, 0.1 + 0.2], "size": (224, 224)}
DTYPES = [
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.float8_e4m3fn),
]


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def only_file(cache) -> Path:
    (file,) = cache.entries()
    return file.path


def age(cache, seconds, path=None):
    """Makes entries look as if they were used long ago."""
    then = time.time() - seconds
    for file in cache.entries():
        if path is None or file.path == path:
            os.utime(file.path, (then, then))


def raw(tensor):
    return tensor.contiguous().flatten().view(torch.uint8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (0, 5), (4, 0), (2, 3, 4)])
def test_every_bit_comes_back(cache, dtype, shape):
    count = torch.tensor(shape).prod().int() * dtype.itemsize if shape else dtype.itemsize
    bits = torch.randint(0, 2 if dtype == torch.bool else 256, (int(count),), dtype=torch.uint8)
    given_tensor = bits.view(dtype).reshape(shape)
    cache.put(KEY, {"x": given_tensor, "y": given_tensor}, {})
    back = cache.get(KEY).tensors
    assert back.keys() == {"x", "y"}
    for tensor in back.values():
        assert (tensor.dtype, tensor.shape) == (dtype, torch.Size(shape))
        assert torch.equal(raw(tensor), bits)


def test_values_that_compare_oddly_come_back(cache):
    odd = struct.pack("<4Q", 0x7FF8000000000001, 0x8000000000000000, 0xFFF0000000000000, 1)
    odd = torch.frombuffer(bytearray(odd), dtype=torch.float64)  # NaN, -0, -inf, denormal
    cache.put(KEY, {"odd": odd}, {"nan": 0.1})
    assert torch.equal(raw(cache.get(KEY).tensors["odd"]), raw(odd))


def test_views_and_gradients_are_kept_as_their_values(cache):
    whole = torch.arange(12.0).reshape(3, 4).requires_grad_()
    cache.put(KEY, {"columns": whole.T, "row": whole[1], "part": whole[:, 1:3]}, {})
    back = cache.get(KEY).tensors
    assert torch.equal(back["columns"], whole.detach().T)
    assert torch.equal(back["row"], whole.detach()[1])
    assert torch.equal(back["part"], whole.detach()[:, 1:3])
    back["row"] += 1  # it is the caller's own
    assert torch.equal(cache.get(KEY).tensors["row"], whole.detach()[1])


def test_facts_and_no_tensors(cache):
    facts = {"seconds": 0.1, "notes": ['"checksum":"' + "0" * 64 + '"', "é"], "none": None}
    cache.put(KEY, {}, facts)
    entry = cache.get(KEY)
    assert entry.tensors == {}
    assert entry.facts == facts


def test_the_default_device_of_the_user_changes_nothing(cache):
    with torch.device("meta"):
        cache.put(KEY, {"x": torch.ones(2, device="cpu")}, {})
        assert torch.equal(cache.get(KEY).tensors["x"], torch.ones(2, device="cpu"))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.floats(allow_nan=False, width=64),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ).filter(lambda x: "Infinity" not in json.dumps(x))
)
@settings(deadline=None)
def test_a_key_is_its_values_in_any_order(value):
    one = {"a": value, "b": 1}
    two = {"b": 1, "a": json.loads(json.dumps(value))}
    assert canonical(one) == canonical(two)
    assert json.loads(canonical(one)) == one


@pytest.mark.parametrize(
    "change",
    [
        {"model": "resnet50"},
        {"block": "ab" * 31 + "ac"},
        {"mean": [0.485, 0.3]},
        {"size": [224]},
        {"more": 1},
    ],
)
def test_another_key_is_missing(cache, change):
    cache.put(KEY, {"x": torch.ones(1)}, {})
    assert cache.get({**KEY, **change}) is None
    assert cache.get(dict(reversed(KEY.items()))) is not None


@pytest.mark.parametrize("key", [{"mean": float("nan")}, {"weights": b"x"}, {"t": torch.ones(1)}])
def test_what_json_cannot_hold_is_no_key(cache, key):
    with pytest.raises((TypeError, ValueError)):
        cache.put(key, {}, {})
    with pytest.raises((TypeError, ValueError)):
        cache.get(key)


def test_the_last_entry_stays(cache):
    for value in (1.0, 2.0):
        cache.put(KEY, {"x": torch.tensor(value)}, {"value": value})
    assert cache.get(KEY).facts == {"value": 2.0}


def damages():
    return {
        "empty": lambda content: b"",
        "one byte": lambda content: content[:1],
        "header only": lambda content: content[: 8 + int.from_bytes(content[:8], "little")],
        "cut in the header": lambda content: content[:100],
        "cut at the end": lambda content: content[:-1],
        "longer": lambda content: content + b"\0",
        "zeros": lambda content: bytes(len(content)),
        "last bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        "length": lambda content: bytes([content[0] ^ 1]) + content[1:],
        "huge length": lambda content: b"\xff" * 8 + content[8:],
        "name of a tensor": lambda content: content.replace(b'"features":', b'"featureS":'),
        "dtype": lambda content: content.replace(b'"F32"', b'"I32"'),
        "shape": lambda content: content.replace(b"[4,2]", b"[2,4]"),
        "fact": lambda content: content.replace(b"12.5", b"12.6"),
        "key": lambda content: content.replace(b"resnet18", b"resnet34"),
        "format": lambda content: content.replace(b"Cache/1", b"Cache/0"),
        "checksum": lambda content: content.replace(b'"checksum":"', b'"checksun":"'),
        "text": lambda content: b"a page of HTML" * 10,
    }


@pytest.mark.parametrize("kind", damages())
@pytest.mark.parametrize("how", ["get", "verify"])
def test_damage_is_found_deleted_and_said(cache, kind, how):
    cache.put(KEY, {"features": torch.arange(8.0).reshape(4, 2)}, {"seconds": 12.5})
    path = only_file(cache)
    before = path.read_bytes()
    path.write_bytes(damages()[kind](before))
    assert path.read_bytes() != before
    if how == "get":
        with pytest.warns(UserWarning, match=f"{path.name} is damaged .* was deleted"):
            assert cache.get(KEY) is None
    else:
        list(cache.entries())  # lists it or not, and raises nothing
        assert [path.name in line and "damaged" in line for line in cache.verify()] == [True]
    assert not path.exists()
    assert cache.get(KEY) is None
    cache.put(KEY, {"features": torch.ones(1)}, {})
    assert cache.get(KEY).tensors["features"].item() == 1


def test_every_single_bit_is_covered(cache):
    cache.put(KEY, {"x": torch.ones(3)}, {"a": 1})
    path = only_file(cache)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.warns(UserWarning, match="damaged"):
            assert cache.get(KEY) is None, at


def test_an_entry_under_another_name_is_none(cache):
    cache.put(KEY, {}, {})
    path = only_file(cache)
    content = path.read_bytes()
    cache.put({"other": 1}, {}, {})
    other = next(file.path for file in cache.entries() if file.path != path)
    other.write_bytes(content)
    with pytest.warns(UserWarning, match="entry of another key"):
        assert cache.get({"other": 1}) is None
    other.write_bytes(content)
    assert len(cache.verify()) == 1
    assert cache.get(KEY) is not None


def test_files_of_others_are_left_alone(cache):
    cache.put(KEY, {}, {})
    strange = [cache.folder / "notes.txt", cache.folder / "ab" / "model.safetensors"]
    for path in strange:
        path.parent.mkdir(exist_ok=True)
        path.write_text("not ours")
    age(cache, 10 * DAY)
    cache = Cache(cache.folder)  # the former one holds its entries
    assert cache.verify() == []
    assert cache.prune(0).deleted == 1
    assert all(path.read_text() == "not ours" for path in strange)


@pytest.mark.parametrize("below", ["", "features", "a/b"])
def test_a_folder_that_is_a_file_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("text")
    with pytest.raises(ValueError, match=r"cache_dir must be a folder, got .*file"):
        Cache(tmp_path / "file" / below)


def test_a_folder_that_may_not_be_seen_is_no_fault_of_opening(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refused)
    Cache(tmp_path / "closed" / "cache")


def test_opening_writes_nothing(tmp_path):
    cache = Cache(tmp_path / "new" / "cache")
    assert cache.get(KEY) is None
    assert [*cache.entries()] == cache.verify() == []
    assert cache.prune(0).deleted == 0
    assert [*tmp_path.iterdir()] == []


def test_a_failed_write_is_said_once_and_nothing_raises(cache):
    cache.put(KEY, {"x": torch.ones(2)}, {})
    for number in range(256):  # the folders of all other entries
        folder = cache.folder / f"{number:02x}"
        if not folder.exists():
            folder.write_text("a file in its place")
    others = [{"number": number} for number in range(40)]
    with pytest.warns(UserWarning, match="cannot be written, so nothing more is kept") as said:
        put_all(cache, others)
    assert len(said) == 1
    assert not cache.writable
    assert cache.get(KEY) is not None
    with pytest.warns(UserWarning, match="cannot be read") as said:
        assert [cache.get(key) for key in others] == [None] * 40
    assert len(said) == 1


def put_all(cache, keys):
    for key in keys:
        cache.put(key, {}, {})


FULL = """
import resource, sys, warnings, torch
from hubfast.extraction.cache import Cache
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
cache = Cache(sys.argv[1])
cache.put({"n": 0}, {"x": torch.zeros(10)}, {})
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for n in range(1, 4):
        cache.put({"n": n}, {"x": torch.zeros(10_000)}, {})
print([str(w.message)[:28] for w in said], cache.get({"n": 0}) is not None, cache.get({"n": 1}))
"""


def test_a_full_disk(tmp_path):
    """The system refuses what is beyond the limit of a file's size, as a full disk does."""
    done = run(FULL, tmp_path)
    assert done == "['the cache cannot be written,'] True None\n"
    assert {p.suffix for p in tmp_path.rglob("*") if p.is_file()} <= {".safetensors", ".lock"}
    assert not [*tmp_path.rglob(".*.partial.*")]


@pytest.fixture
def read_only():
    """A cache with one entry that the process may read and not write."""
    with tempfile.TemporaryDirectory() as folder:
        Cache(folder).put(KEY, {"x": torch.ones(2)}, {})
        places = [Path(folder), *(p for p in Path(folder).iterdir() if p.is_dir())]
        for place in places:
            place.chmod(0o555)
        mine = os.geteuid()
        if mine == 0:  # root may write everywhere
            os.seteuid(65534)
        try:
            yield Cache(folder)
        finally:
            os.seteuid(mine)
            for place in places:
                place.chmod(0o755)


def test_a_folder_that_may_only_be_read(read_only):
    with pytest.warns(UserWarning, match="cannot be written") as said:
        assert read_only.get(KEY) is not None
    assert len(said) == 1
    put_all(read_only, [{"other": 1}, KEY])
    assert read_only.get({"other": 1}) is None
    assert read_only.get(KEY).tensors["x"].sum() == 2
    assert read_only.verify() == []


def run(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


WRITERS = """
import os, sys, warnings, torch
from hubfast.extraction.cache import Cache
warnings.simplefilter("error")
held, release = os.pipe()
children = []
for me in range(2):
    if not (child := os.fork()):
        os.close(release)
        os.read(held, 1)  # both start at once
        cache = Cache(sys.argv[1])
        for n in range(100):
            key, x = {"n": n % 7}, torch.full((5000,), float(n % 7))
            found = cache.get(key)
            assert found is None or torch.equal(found.tensors["x"], x)
            cache.put(key, {"x": x}, {"by": me})
        os._exit(0)
    children.append(child)
os.close(release)
print([os.waitpid(child, 0)[1] for child in children])
"""


def test_two_processes_share_a_cache(tmp_path):
    assert run(WRITERS, tmp_path) == "[0, 0]\n"
    cache = Cache(tmp_path)
    assert cache.verify() == []
    assert len([*cache.entries()]) == 7
    assert not [*tmp_path.rglob(".*")]


KILLED = """
import sys, torch
from hubfast.extraction.cache import Cache
cache, number = Cache(sys.argv[1]), 0
while True:
    cache.put({"n": number % 50}, {"x": torch.full((30_000,), float(number % 50))}, {})
    number += 1
"""


def test_kill_9_leaves_whole_entries_only(tmp_path):
    """One child of a process that has torch loaded is killed after the other."""
    found = run(KILLER, tmp_path, KILLED.replace("sys.argv[1]", "folder"))
    kills, partial = map(int, found.split())
    assert kills == 50
    cache = Cache(tmp_path)
    assert cache.verify() == []
    entries = [*cache.entries()]
    assert 0 < len(entries) <= 50
    for file in entries:
        assert torch.equal(
            cache.get(file.key).tensors["x"], torch.full((30_000,), float(file.key["n"]))
        )
    left = [*tmp_path.rglob(".*.partial.safetensors")]
    assert len(left) == partial
    assert left, "no kill came in the middle of a write, so this test has shown nothing"
    for path in left:
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    Cache(tmp_path).get(entries[0].key)
    assert not [*tmp_path.rglob(".*.partial.safetensors")]


KILLER = """
import os, random, signal, sys, time, torch
from pathlib import Path
from hubfast.extraction.cache import Cache
import safetensors.torch
folder, draw = Path(sys.argv[1]), random.Random(0)
kills = 0
for _ in range(50):
    child = os.fork()
    if not child:
        exec(sys.argv[2])
    time.sleep(draw.uniform(0.005, 0.05))
    os.kill(child, signal.SIGKILL)
    kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
print(kills, len([*folder.rglob(".*.partial.safetensors")]))
"""


def filled(cache, count=4):
    """Entries of about 1 kB, each unused for ten minutes less than the one before."""
    for n in range(count):
        cache.put({"n": n}, {"x": torch.zeros(256)}, {})
    files = sorted(cache.entries(), key=lambda file: file.key["n"])
    for file in files:
        then = time.time() - 5 * HOUR - 600 * (count - file.key["n"])
        os.utime(file.path, (then, then))
    return Cache(cache.folder), [file.size for file in files]


def kept(cache):
    return sorted(file.key["n"] for file in cache.entries())


def test_what_was_unused_for_longest_is_pruned_first(cache):
    cache, sizes = filled(cache)
    done = cache.prune(sum(sizes))
    assert (done.deleted, done.freed, done.left) == (0, 0, sum(sizes))
    done = cache.prune(sum(sizes) - 1)
    assert (done.deleted, done.freed, done.left) == (1, sizes[0], sum(sizes[1:]))
    assert kept(cache) == [1, 2, 3]
    done = cache.prune(sizes[3])
    assert (done.deleted, done.left, done.in_use) == (2, sizes[3], 0)
    assert kept(cache) == [3]


def test_use_keeps_an_entry(cache):
    cache, _ = filled(cache)
    reader = Cache(cache.folder)
    assert reader.get({"n": 0}) is not None
    done = cache.prune(0)
    assert (done.deleted, done.in_use) == (3, 1)
    assert kept(cache) == [0]


def test_listing_and_verifying_is_no_use(cache):
    cache, _ = filled(cache)
    used = {file.path: file.used for file in cache.entries()}
    assert cache.verify() == []
    assert {file.path: file.used for file in cache.entries()} == used
    assert cache.prune(0).deleted == 4


def start(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


RUNNING = """
import sys, torch
from hubfast.extraction.cache import Cache
cache = Cache(sys.argv[1])
cache.put({"n": 9}, {"x": torch.zeros(256)}, {})
print("ready", flush=True)
sys.stdin.readline()
"""


def test_what_a_running_process_has_touched_is_kept(cache):
    """Its entries look three hours old, and the process as if it had begun four hours ago."""
    cache, _ = filled(cache)
    other = start(RUNNING, cache.folder)
    assert other.stdout.readline() == "ready\n"
    lock = max((cache.folder / "running").iterdir(), key=lambda path: path.stat().st_mtime)
    os.utime(lock, (time.time() - 4 * HOUR,) * 2)
    mine = next(file.path for file in cache.entries() if file.key == {"n": 9})
    age(cache, 3 * HOUR, mine)
    done = cache.prune(0)
    assert (done.deleted, done.in_use) == (4, 1)
    assert kept(cache) == [9]
    other.send_signal(signal.SIGKILL)
    other.wait()
    other.stdin.close()
    other.stdout.close()
    assert cache.prune(0).deleted == 1
    assert not lock.exists()


def test_a_negative_size_is_refused(cache):
    with pytest.raises(ValueError, match="max_size must be at least 0 bytes, got -1"):
        cache.prune(-1)


def test_entries_tell_what_they_are(cache):
    cache.put(KEY, {"x": torch.ones(2)}, {"seconds": 1.5})
    (file,) = cache.entries()
    assert file.key == json.loads(json.dumps(KEY))
    assert file.facts == {"seconds": 1.5}
    assert file.size == file.path.stat().st_size
    assert abs(file.used - time.time()) < 60


def test_listing_verifying_and_pruning_need_no_torch(cache):
    cache.put(KEY, {"x": torch.ones(2)}, {})
    code = (
        "import sys; from hubfast.extraction.cache import Cache; cache = Cache(sys.argv[1]);"
        "print(len([*cache.entries()]), cache.verify(), cache.prune(0).deleted);"
        "print('torch' in sys.modules)"
    )
    age(cache, 2 * HOUR)
    assert run(code, cache.folder) == "1 [] 1\nFalse\n"


def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HUBFAST_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "features"
    monkeypatch.delenv("HUBFAST_CACHE")
    assert default_folder().name == "features"
    assert "hubfast" in default_folder().parts
