"""Samples have equal digests where a model sees the same, and others where it may not."""

import hashlib
import io
import os
import time
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import TensorDataset

from hubfast.data import as_target_data
from hubfast.data.pixels import Pixels
from hubfast.data.target import TargetData
from hubfast.extraction.digests import UNREADABLE, block_digest, sample_digests
from hubfast.utils.file_hashes import FileHashes


def data_of(samples, **pixels):
    """Target data of any samples, as they are."""
    count = len(samples)
    return TargetData(
        "d", samples, torch.arange(count) % 2, "classification", pixels=Pixels(**pixels)
    )


def digest(sample, **pixels):
    return sample_digests(data_of([sample], **pixels), torch.tensor([0]))[0]


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 5, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path, image):
    """Four images of two classes, changed a minute ago."""
    for label in "ab":
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(2):
            path = tmp_path / "data" / label / f"{number}.png"
            image.putpixel((0, 0), (number, ord(label), 0))
            image.save(path)
            os.utime(path, (time.time() - 60,) * 2)
    return tmp_path / "data"


def test_by_hand():
    """A text: its kind, nothing on pixels, its UTF-8. An array: dtype, shape and its bytes."""
    assert digest("gut") == hashlib.sha256(b"text\n\ngut").digest()
    values = np.array([[1.0, 2.0]], dtype=np.float32)
    version = ".".join(PIL.__version__.split(".")[:2])
    content = b"float32 (1, 2) " + hashlib.sha256(values.tobytes()).digest()
    wanted = hashlib.sha256(f"array\nwhite None Pillow {version} \n".encode() + content).digest()
    assert digest(values) == digest(torch.from_numpy(values)) == wanted


def test_a_block_is_its_samples_in_order():
    one, two = bytes(32), bytes(range(32))
    assert block_digest([one, two]) == hashlib.sha256(one + two).hexdigest()
    assert len({block_digest(x) for x in ([], [one], [two], [one, two], [two, one])}) == 5


def test_files_encoded_bytes_and_tables_of_bytes_are_the_same(folder):
    path = folder / "a" / "0.png"
    content = path.read_bytes()
    of_folder = sample_digests(as_target_data(folder), torch.arange(4))
    assert len({*of_folder}) == 4
    for same in (
        path,
        content,
        {"bytes": content, "path": "x.png"},
        {"bytes": None, "path": str(path)},
    ):
        assert digest(same) == of_folder[0]
    pair = as_target_data(([path, folder / "b" / "1.png"], [0, 1]))
    assert sample_digests(pair, torch.tensor([1, 0])) == [of_folder[3], of_folder[0]]


def test_rows_are_those_of_a_subset(folder):
    data = as_target_data(folder)
    whole = sample_digests(data, torch.arange(4))
    part = data.subset(torch.tensor([3, 1, 2]))
    assert sample_digests(part, torch.tensor([0, 2])) == [whole[3], whole[2]]
    assert sample_digests(part, torch.empty(0, dtype=torch.int64)) == []


def test_targets_and_names_do_not_count(folder):
    before = sample_digests(as_target_data(folder), torch.arange(4))
    folder.rename(folder.parent / "moved")
    moved = folder.parent / "moved"
    (moved / "a").rename(moved / "z")
    after = sample_digests(as_target_data(moved), torch.arange(4))
    assert sorted(before) == sorted(after)


def test_a_file_that_changes_under_its_name(folder, tmp_path):
    hashes = FileHashes(tmp_path / "hashes.bin")
    data = as_target_data(folder)
    before = sample_digests(data, torch.arange(4), hashes)
    path = folder / "a" / "1.png"
    stat = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = sample_digests(data, torch.arange(4), hashes)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, True]


def test_hashes_of_files_are_kept_over_runs(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("hubfast.utils.file_hashes.FRESH", -1)
    data, kept = as_target_data(folder), tmp_path / "hashes.bin"
    hashes = FileHashes(kept)
    before = sample_digests(data, torch.arange(4), hashes)
    hashes.save()
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("a file was read again"))
    assert sample_digests(data, torch.arange(4), FileHashes(kept)) == before


def test_what_cannot_be_read(folder):
    data = as_target_data(folder)
    (folder / "a" / "0.png").unlink()
    found = sample_digests(data, torch.arange(4))
    assert [each == UNREADABLE for each in found] == [True, False, False, False]
    content = (folder / "a" / "1.png").read_bytes()
    broken = Image.open(io.BytesIO(content[:60]))
    for sample in (broken, object(), None, np.array([object()]), {"path": None, "bytes": None}):
        assert digest(sample) == UNREADABLE
    assert digest(b"no image") != UNREADABLE  # it can be read; that no model sees it is found later


def test_targets_only_are_refused():
    data = TargetData("d", None, torch.tensor([0, 1]), "classification")
    with pytest.raises(ValueError, match="'d' has targets only"):
        sample_digests(data, torch.tensor([0]))


def variants(image):
    """Samples that a model sees differently, each by its name."""
    grey, palette = image.convert("L"), image.convert("P")
    other_palette = palette.copy()
    other_palette.putpalette([255 - v for v in palette.getpalette()])
    clear = palette.copy()
    clear.info["transparency"] = 3
    turned = image.copy()
    turned.getexif()[0x0112] = 6
    array = np.asarray(image)
    return {
        "image": image,
        "pixel": image.copy().transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "size": Image.frombytes("RGB", (6, 5), image.tobytes()),
        "mode": Image.frombytes("HSV", image.size, image.tobytes()),
        "grey": grey,
        "palette": palette,
        "other palette": other_palette,
        "transparent": clear,
        "turned": turned,
        "array": array,
        "signed": array.astype(np.int16),
        "floats": array.astype(np.float32),
        "doubles": array.astype(np.float64),
        "shape": array.reshape(5, 6, 3),
        "tensor": torch.from_numpy(array.copy()).permute(2, 0, 1),
        "bf16": torch.from_numpy(array.copy()).bfloat16(),
        "text": "text",
        "no text": "",
        "bytes": b"text",
        "png": encoded(image),
        "jpeg": encoded(image, "JPEG"),
    }


def test_all_that_a_model_sees_counts(image):
    found = {name: digest(sample) for name, sample in variants(image).items()}
    assert UNREADABLE not in found.values()
    assert len({*found.values()}) == len(found)


def test_how_pixels_are_read_counts_for_images_only(image, monkeypatch):
    for name, sample in variants(image).items():
        ways = {digest(sample, **how) for how in ({}, {"background": "black"}, {"bits": 12})}
        assert len(ways) == (1 if name in ("text", "no text") else 3), name
    before = digest(image)
    monkeypatch.setattr(PIL, "__version__", "1.2.3")
    assert digest(image) != before


@given(st.integers(0, 2**16 - 1), st.sampled_from(["uint8", "int32", "float32", "float64"]))
@settings(deadline=None, max_examples=30)
def test_equal_arrays_have_equal_digests_however_they_lie(seed, dtype):
    values = np.random.default_rng(seed).integers(0, 255, (4, 3, 3)).astype(dtype)
    wanted = digest(values)
    swapped = values.astype(values.dtype.newbyteorder())
    for same in (values.copy("F"), swapped, torch.from_numpy(values)):
        assert digest(same) == wanted
    assert digest(values.tolist()) == digest(np.array(values.tolist()))
    values[0, 0, 0] += 1
    assert digest(values) != wanted


def test_data_sets_count_by_what_they_give(image):
    images = torch.randint(0, 255, (3, 3, 4, 4), dtype=torch.uint8)
    targets = torch.tensor([0, 1, 0])
    of_arrays = sample_digests(as_target_data((images, targets)), torch.arange(3))
    of_dataset = as_target_data(TensorDataset(images, targets), progress=False)
    assert sample_digests(of_dataset, torch.arange(3)) == of_arrays
    assert (
        sample_digests(data_of(list(zip(images, targets, strict=True))), torch.arange(3))
        == of_arrays
    )


def made(images, **image):
    datasets = pytest.importorskip("datasets")
    features = {"image": datasets.Image(**image), "label": datasets.Value("int64")}
    table = {"image": images, "label": [i % 2 for i in range(len(images))]}
    return datasets.Dataset.from_dict(table, datasets.Features(features))


def digests_of(dataset):
    data = as_target_data(dataset, progress=False)
    return sample_digests(data, torch.arange(len(data)))


@pytest.mark.parametrize("form", [None, "numpy", "torch"])
def test_data_sets_of_hugging_face(image, form, monkeypatch):
    """They count by what is kept, which is not decoded, and by how it would be."""
    images = [image, image.transpose(Image.Transpose.ROTATE_90)]
    dataset = made(images).with_format(form)
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("an image was decoded"))
    found = digests_of(dataset)
    assert found[0] != found[1]
    assert UNREADABLE not in found
    assert digests_of(dataset.select([1, 0])) == found[::-1]
    assert digests_of(dataset.with_format("numpy" if form is None else None)) != found
    assert digests_of(made(images, mode="L").with_format(form)) != found


def test_paths_in_data_sets_of_hugging_face(image, folder):
    paths = [folder / "a" / "0.png", folder / "b" / "1.png"]
    dataset = made([str(path) for path in paths])
    found = digests_of(dataset)
    paths[1].write_bytes(paths[0].read_bytes())
    assert digests_of(dataset) == [found[0], found[0]]
    paths[0].unlink()
    assert digests_of(dataset) == [UNREADABLE, found[0]]


def test_reading_an_image_leaves_it_as_it_was():
    frames = [Image.new("L", (4, 4), value) for value in (0, 100, 200)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    animated = Image.open(io.BytesIO(content))
    first = digest(animated)
    assert animated.tell() == 0
    animated.seek(1)
    assert digest(animated) != first
    assert animated.tell() == 1


def test_relative_paths_of_a_table(folder):
    table = folder / "table.csv"
    table.write_text("image,label\na/0.png,0\nb/0.png,1\n")
    data = as_target_data(table)
    direct = [digest(Path(folder / name)) for name in ("a/0.png", "b/0.png")]
    assert sample_digests(data, torch.arange(2)) == direct
