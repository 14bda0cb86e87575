"""Which files of a folder are samples, and of which class."""

import numpy as np
import pytest
from PIL import Image, features

import hubfast
from hubfast import as_target_data
from hubfast.data import readable
from hubfast.data.images import image_suffixes


def save(path, shade=0, kind=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(path, kind)
    return path


@pytest.fixture
def photos(tmp_path):
    """Classes ant, bee and cow of four images each."""
    for c, name in enumerate(("ant", "bee", "cow")):
        for i in range(4):
            save(tmp_path / "photos" / name / f"{i}.png", 40 * c + i)
    return tmp_path / "photos"


def coarse(images):
    return np.stack([np.asarray(image).ravel() / 255 for image in images])


def is_untouched(data) -> bool:
    return (data.class_names, data.targets.bincount().tolist()) == (("ant", "bee", "cow"), [4] * 3)


JUNK = [
    ".ipynb_checkpoints/0-checkpoint.png",
    "__MACOSX/ant/._0.png",
    "@eaDir/0.png",
    ".DS_Store",
    "Thumbs.db",
    "$RECYCLE.BIN/x.png",
    "ant/.ipynb_checkpoints/0-checkpoint.png",
    "bee/._0.png",
    "bee/@eaDir/0.png/thumb.jpg",
    "cow/.hidden.png",
]


@pytest.mark.parametrize("junk", JUNK)
def test_hidden_and_system_files_do_not_count(photos, junk):
    save(photos / junk, 200, "PNG")
    data = as_target_data(photos)
    assert is_untouched(data)
    (note,) = data.notes
    assert note == f"1 file is left out: 1 hidden or left by a system ({junk})"


@pytest.mark.parametrize("name", [".git", "__MACOSX", ".ipynb_checkpoints", "@eaDir"])
def test_an_empty_hidden_folder_is_no_class(photos, name):
    (photos / name).mkdir()
    data = as_target_data(photos)
    assert is_untouched(data)
    assert not data.notes


KINDS = {
    ".JPG": "JPEG",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".GIF": "GIF",
    ".avif": "AVIF",
    ".jp2": "JPEG2000",
    ".tga": "TGA",
    ".ico": "ICO",
    ".webp": "WEBP",
    ".pnm": "PPM",
    ".qoi": None,
    ".apng": "PNG",
    ".pcx": "PCX",
    ".Tif": "TIFF",
}


@pytest.mark.parametrize("suffix", KINDS)
def test_what_pillow_reads_counts(photos, suffix):
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow is built without AVIF")
    assert suffix.lower() in image_suffixes()
    if KINDS[suffix] is None:
        return  # Pillow reads it and does not write it
    (photos / "bee" / "1.png").unlink()
    save(photos / "bee" / f"1{suffix}", 200, KINDS[suffix])
    data = as_target_data(photos)
    assert is_untouched(data)
    assert not data.notes
    assert abs(int(np.asarray(data[5])[0, 0, 0]) - 200) < 12


@pytest.mark.parametrize("suffix", [".pdf", ".h5", ".mpg", ".txt", ".npy", ".heic", ""])
def test_other_files_are_counted_and_named(photos, suffix):
    for i in range(5):
        (photos / "bee" / f"x{i}{suffix}").write_bytes(b"x")
    data = as_target_data(photos)
    assert is_untouched(data)
    (note,) = data.notes
    assert note.startswith("5 files are left out: 5 of kinds that Pillow does not read, ")
    assert f"bee/x0{suffix}, bee/x1{suffix}, bee/x2{suffix} and 2 more" in note


def test_notes_reach_the_ranking(photos):
    (photos / "bee" / "notes.txt").write_text("x")
    save(photos / "lonely.png")
    (photos / "dodo").mkdir()
    ranking = hubfast.rank({"coarse": coarse}, photos, progress=False)
    assert ranking.samples == 12
    said = " ".join(ranking.notes)
    assert "class folders without an image: dodo" in said
    assert "2 files are left out: 1 beside the class folders (lonely.png); 1 of kinds" in said


def test_an_empty_class_keeps_the_ids_of_the_others(photos):
    (photos / "asp").mkdir()  # sorted between ant and bee
    (photos / "bat").mkdir()
    (photos / "bat" / "readme.md").write_text("x")
    data = as_target_data(photos)
    assert data.class_names == ("ant", "asp", "bat", "bee", "cow")
    assert {data.class_names[t] for t in data.targets.tolist()} == {"ant", "bee", "cow"}
    assert all(
        data.class_names[t] in name for t, name in zip(data.targets, data.names, strict=True)
    )
    assert data.notes[0] == "class folders without an image: asp, bat"


def test_folders_inside_a_class_count_as_torchvision_has_them(photos):
    save(photos / "ant" / "b" / "z.png", 201)
    save(photos / "ant" / "a" / "deep" / "y.png", 202)
    save(photos / "ant" / "a0.png", 203)
    data = as_target_data(photos)
    from torchvision.datasets import ImageFolder

    expected = ImageFolder(str(photos))
    assert list(data.names) == [path for path, _ in expected.samples]
    assert data.targets.tolist() == expected.targets
    assert list(data.class_names) == expected.classes


def test_links_are_followed_once(photos, tmp_path):
    outside = save(tmp_path / "outside" / "o.png", 222).parent
    (photos / "cow" / "more").symlink_to(outside)
    (photos / "cow" / "loop").symlink_to(photos / "cow")
    (photos / "dog").symlink_to(outside)
    (photos / "cow" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    data = as_target_data(photos)
    assert data.class_names == ("ant", "bee", "cow", "dog")
    assert data.targets.bincount().tolist() == [4, 4, 6, 1]
    good = readable(data, 0.1, progress=False)
    assert len(good) == 14
    assert "cow/gone.png (FileNotFoundError: " in good.notes[0]


# One level too high, or too low


@pytest.mark.parametrize(
    "parts", [("train", "val"), ("Training", "test_set"), ("test", "valid", "train2017")]
)
def test_parts_of_a_data_set_are_no_classes(photos, parts):
    for part in parts:
        for name in ("ant", "bee"):
            save(photos.parent / "high" / part / name / "0.png")
    high = photos.parent / "high"
    ranking = hubfast.rank({"m": coarse}, high, progress=False)
    (note,) = (note for note in ranking.notes if "parts of a data set" in note)
    assert f"the folders {', '.join(map(repr, sorted(parts)))} are taken as classes" in note
    assert str(high / sorted(parts)[0]) in note


def test_a_single_part_is_refused(photos):
    photos.rename(photos.parent / "train")
    with pytest.raises(ValueError, match=r"has the one folder 'train', a part of .*give .*train"):
        as_target_data(photos.parent)


def test_a_train_among_cars_is_a_class(photos):
    save(photos / "train" / "0.png")
    data = as_target_data(photos)
    assert data.class_names == ("ant", "bee", "cow", "train")
    assert not data.notes


def test_a_folder_without_class_folders_says_what_is_there(photos):
    with pytest.raises(FileNotFoundError, match=r"no class folder in .*ant: data must be a folder"):
        as_target_data(photos / "ant")
    with pytest.raises(FileNotFoundError, match=r"there are 4 files \(0.png, .*\), 4 of images"):
        as_target_data(photos / "ant")
    (photos / "ant" / "labels.csv").write_text("path,label\n0.png,x\n")
    with pytest.raises(FileNotFoundError, match=r"for a table give it: .*labels.csv"):
        as_target_data(photos / "ant")
    (photos / "ant" / "dataset_info.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"give hfdata:.*ant"):
        as_target_data(photos / "ant")


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no class folder in .*; it is empty"):
        as_target_data(tmp_path)


def test_class_folders_without_any_image_say_what_is_there(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"no image in the class folders of .*a/x.txt"):
        as_target_data(tmp_path)


def test_a_folder_is_called_by_its_name(photos, monkeypatch):
    monkeypatch.chdir(photos)
    assert as_target_data(".").name == "photos"


def test_a_broken_image_is_named_by_whoever_reads_it(photos):
    broken = photos / "bee" / "2.png"
    broken.write_bytes(broken.read_bytes()[:45])
    with pytest.raises((OSError, ValueError), match=r"bee/2\.png: "):
        as_target_data(photos)[6]
