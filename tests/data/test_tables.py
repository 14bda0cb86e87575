"""Tables, Hugging Face data sets, and the checks of target data."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import hubfast
from hubfast import as_target_data
from hubfast.data import class_sizes_note, delimited, readable

WORDS = ["cat", "dog", "cat", "eel", "dog", "cat"]
COUNT = len(WORDS)


@pytest.fixture
def folder(tmp_path):
    """Six pictures; picture i is grey of shade 40 i."""
    (tmp_path / "pictures").mkdir()
    for i in range(COUNT):
        Image.new("RGB", (12, 10), (40 * i,) * 3).save(tmp_path / "pictures" / f"{i}.png")
    return tmp_path


def paths():
    return [f"pictures/{i}.png" for i in range(COUNT)]


def corrupt(path):
    path.write_bytes(path.read_bytes()[:45])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_table_of_images(folder, suffix):
    frame = pd.DataFrame({"image": paths(), "label": WORDS})
    file = folder / f"train{suffix}"
    match suffix:
        case ".parquet":
            frame.to_parquet(file)
        case _:
            frame.to_csv(file, index=False, sep="\t" if suffix == ".tsv" else ",")
    data = as_target_data(file)
    assert (data.name, data.task, len(data)) == ("train", "classification", COUNT)
    assert data.class_names == ("cat", "dog", "eel")
    assert data.targets.tolist() == [0, 1, 0, 2, 1, 0]
    assert np.asarray(data[3]).tolist() == np.full((10, 12, 3), 120).tolist()
    assert data.subset(torch.tensor([4, 1])).name_of(0) == str(folder / "pictures" / "4.png")


def test_table_of_texts(tmp_path):
    texts = ["a film", "no. png", "c", "d", "e", "f"]
    frame = pd.DataFrame({"review": texts, "stars": [1, 0, 1, 0, 1, 0], "length": range(6)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = as_target_data(tmp_path / "t.csv", target_columns="stars")
    assert [data[i] for i in range(COUNT)] == texts
    assert (data.task, data.class_names) == ("classification", None)
    regression = as_target_data(tmp_path / "t.csv", target_columns="length", task="regression")
    assert regression.targets.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    other = as_target_data(tmp_path / "t.csv", sample_column="review", target_columns=["stars"])
    assert other[0] == "a film"
    several = as_target_data(
        tmp_path / "t.csv", target_columns=["stars", "length"], task="regression"
    )
    assert several.targets.shape == (COUNT, 2)


def test_targets_of_every_kind(tmp_path):
    frame = pd.DataFrame(
        {
            "text": list("abcdef"),
            "words": ["red; round", "round", "red|big", "big", "", "red, big"],
            "number": np.linspace(0, 1, COUNT),
            "one": [0, 1, 1, 0, 0, 1],
            "two": [1, 1, 0, 0, 1, 1],
            "flag": [True, False] * 3,
        }
    )
    frame["lists"] = [["red", "round"], ["round"], ["red", "big"], ["big"], [], ["red", "big"]]
    frame["vector"] = [[float(i), 0.5] for i in range(COUNT)]
    frame.to_parquet(tmp_path / "t.parquet")

    def read(columns, task=None):
        return as_target_data(tmp_path / "t.parquet", target_columns=columns, task=task)

    expected = [[0, 1, 1], [0, 0, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0]]
    lists = read("lists")
    assert (lists.task, lists.class_names) == ("multilabel", ("big", "red", "round"))
    assert lists.targets.tolist() == expected
    words = read("words", "multilabel")
    assert (words.targets.tolist(), words.class_names) == (expected, lists.class_names)
    assert read("number").task == "regression"
    assert read("vector").targets.shape == (COUNT, 2)
    assert read("flag").task == "classification"
    several = read(["one", "two"])
    assert (several.task, several.class_names) == ("multilabel", ("one", "two"))


def test_words_need_no_table():
    data = as_target_data((list("abc"), ["no", "yes", "no"]))
    assert (data.targets.tolist(), data.class_names) == ([0, 1, 0], ("no", "yes"))


def test_a_table_of_targets_alone_goes_with_stored_features(tmp_path):
    pd.DataFrame({"label": WORDS}).to_csv(tmp_path / "t.csv", index=False)
    assert as_target_data(tmp_path / "t.csv").samples is None


def test_bad_tables_are_named(tmp_path):
    def read(frame, **how):
        pd.DataFrame(frame).to_csv(tmp_path / "t.csv", index=False)
        return as_target_data(tmp_path / "t.csv", **how)

    with pytest.raises(ValueError, match=r"target_columns must say .* of \['text', 'species'\]"):
        read({"text": ["a"], "species": ["b"]})
    with pytest.raises(ValueError, match=r"no column 'nothing', there are \['text', 'label'\]"):
        read({"text": ["a"], "label": ["b"]}, sample_column="nothing")
    with pytest.raises(ValueError, match=r"must have a 'label', missing in 1 of 2 rows: \[3\]"):
        read({"text": ["a", "b"], "label": ["x", None]})
    with pytest.raises(ValueError, match=r"must have a 'label', missing in 1 of 2 rows: \[2\]"):
        read({"text": ["a", "b"], "label": [None, 1.5]})
    with pytest.raises(
        ValueError, match=r"must hold paths or texts, missing in 1 of 2 rows: \[3\]"
    ):
        read({"text": ["a", None], "label": [0, 1]})
    with pytest.raises(ValueError, match=r"several target columns must hold numbers"):
        read({"text": ["a"], "x": ["b"], "y": [1]}, target_columns=["x", "y"])
    with pytest.raises(ValueError, match=r"must hold samples, got none"):
        read({"text": [], "label": []})
    with pytest.raises(FileNotFoundError, match=r"data not found"):
        as_target_data(tmp_path / "none.csv")


# Hugging Face data sets


@pytest.fixture
def hf(folder, monkeypatch):
    """The pictures as a data set with class names."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "caption": datasets.Value("string"),
            "species": datasets.ClassLabel(names=["dog", "cat", "eel"]),
            "tags": datasets.Sequence(datasets.ClassLabel(names=["big", "red"])),
            "weight": datasets.Value("float32"),
        }
    )
    columns = {
        "picture": [str(folder / path) for path in paths()],
        "caption": list("abcdef"),
        "species": WORDS,
        "tags": [[], ["red"], ["big", "red"], ["big"], [], ["red"]],
        "weight": np.arange(COUNT) / 2,
    }
    return datasets.Dataset.from_dict(columns, features=features)


def test_hf_dataset(hf):
    data = as_target_data(hf, name="animals")
    assert (data.name, data.task) == ("animals", "classification")
    assert data.class_names == ("dog", "cat", "eel")
    assert data.targets.tolist() == [1, 0, 1, 2, 0, 1]
    assert np.asarray(data[5]).max() == 200
    part = data.subset(torch.tensor([4, 2]))
    assert np.asarray(part[1]).max() == 80
    tags = as_target_data(hf, target_columns="tags")
    assert (tags.task, tags.class_names) == ("multilabel", ("big", "red"))
    assert tags.targets.tolist() == [[0, 0], [0, 1], [1, 1], [1, 0], [0, 0], [0, 1]]
    weight = as_target_data(hf, target_columns="weight", sample_column="caption")
    assert (weight.task, weight[2]) == ("regression", "c")


def test_hf_dataset_from_disk(hf, tmp_path):
    import datasets

    hf.save_to_disk(tmp_path / "one")
    assert len(as_target_data(f"hfdata:{tmp_path / 'one'}")) == COUNT
    splits = datasets.DatasetDict({"train": hf.select(range(4)), "test": hf.select([4, 5])})
    splits.save_to_disk(tmp_path / "two")
    assert len(as_target_data(f"hfdata:{tmp_path / 'two'}")) == 4
    assert as_target_data(f"hfdata:{tmp_path / 'two'}@test").targets.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"has the splits \['test', 'train'\], not 'dev'"):
        as_target_data(f"hfdata:{tmp_path / 'two'}@dev")
    with pytest.raises(ValueError, match=r"one split of a data set, got DatasetDict"):
        as_target_data(splits)


def test_hf_dataset_of_plain_files(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "plain").mkdir()
    frame = pd.DataFrame({"text": list("abcd"), "label": [1, 0, 1, 1]})
    frame.to_csv(tmp_path / "plain" / "train.csv", index=False)
    data = as_target_data(f"hfdata:{tmp_path / 'plain'}")
    assert (data.name, data[3], data.targets.tolist()) == ("plain", "d", [1, 0, 1, 1])


def test_a_stream_is_no_data(hf):
    with pytest.raises(ValueError, match=r"one split of a data set, got IterableDataset"):
        as_target_data(hf.to_iterable_dataset())


def test_hf_dataset_without_labels(hf):
    unlabelled = hf.remove_columns("species").add_column("species", [-1] * COUNT)
    unlabelled = unlabelled.cast_column("species", hf.features["species"])
    with pytest.raises(ValueError, match=r"every sample must have a label, 6 have none \(-1\)"):
        as_target_data(unlabelled)


def test_hf_datasets_are_an_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"hfdata:x needs datasets: .*hubfast\[data\]"):
        as_target_data("hfdata:x")


# Checks


def table(folder):
    pd.DataFrame({"image": paths(), "label": WORDS}).to_csv(folder / "t.csv", index=False)
    return as_target_data(folder / "t.csv")


def test_unreadable_samples_are_left_out_counted_and_named(folder):
    corrupt(folder / "pictures" / "2.png")
    (folder / "pictures" / "5.png").write_text("no picture")
    data = table(folder)
    good = readable(data, 0.5, progress=False)
    assert good.rows().tolist() == [0, 1, 3, 4]
    assert good.targets.tolist() == [0, 1, 2, 1]
    (note,) = good.notes
    assert "2 of 6 samples cannot be read and are left out" in note
    assert f"{folder / 'pictures' / '2.png'} (OSError: " in note
    assert (
        f"{folder / 'pictures' / '5.png'} (UnidentifiedImageError: no image that Pillow reads)"
        in note
    )
    with pytest.raises(
        ValueError, match=r"2 of 6 samples cannot be read, more than max_unread.*0.3"
    ):
        readable(data, 0.3, progress=False)
    assert readable(good, 0.0, progress=False) is good
    with pytest.raises(ValueError, match=r"max_unreadable must be in 0..1, got 5"):
        readable(data, 5, progress=False)


def test_every_model_sees_the_same_readable_samples(folder, tmp_path):
    corrupt(folder / "pictures" / "3.png")
    pd.DataFrame({"image": paths(), "label": [0, 1] * 3}).to_csv(folder / "t.csv", index=False)
    np.save(tmp_path / "stored.npy", np.arange(COUNT)[:, None] * 40.0)
    seen = []

    def shade(images):
        seen.append([np.asarray(image).mean() for image in images])
        return np.array(seen[-1])[:, None]

    hub = {"first": shade, "second": shade, "stored": tmp_path / "stored.npy"}
    ranking = hubfast.rank(hub, folder / "t.csv", max_unreadable=0.2, progress=False)
    assert [sorted(one) for one in seen] == [[0, 40, 80, 160, 200]] * 2
    assert seen[0] == seen[1]
    assert ranking.samples == 5
    assert len({m.score for m in ranking.scored}) == 1
    assert "3.png" in ranking.notes[0]
    assert "1 of 6 samples cannot be read" in str(ranking).replace("\n", " ")
    ranking.to_json(tmp_path / "r.json")
    assert hubfast.Ranking.from_json(tmp_path / "r.json").notes == ranking.notes
    with pytest.raises(ValueError, match=r"more than max_unreadable=0.05"):
        hubfast.rank(hub, folder / "t.csv", progress=False)


def test_image_folders_are_checked_too(tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{i}.png")
    corrupt(tmp_path / "bee" / "1.png")
    good = readable(as_target_data(tmp_path), 0.2, progress=False)
    assert good.targets.tolist() == [0, 0, 0, 1, 1]
    assert str(tmp_path / "bee" / "1.png") in good.notes[0]


def test_samples_in_memory_are_not_read(hf):
    images = (np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) % 2)
    for data in (images, np.arange(4), (["a", "b"], np.arange(2))):
        target = as_target_data(data)
        assert readable(target, progress=False) is target
    lazy = as_target_data(hf)
    assert readable(lazy, progress=False) is lazy


def test_uneven_classes_are_said():
    even = as_target_data(np.array([0] * 9 + [1]))
    assert class_sizes_note(even) is None
    data = as_target_data(np.array([0] * 30 + [1] * 3))
    note = class_sizes_note(data)
    assert note.startswith("classes are uneven: class 0 has 30 samples, class 1 has 3;")
    named = hubfast.TargetData("x", None, data.targets, "classification", ("ant", "bee"))
    assert "ant has 30 samples, bee has 3" in class_sizes_note(named)
    columns = np.zeros((20, 2), int)
    columns[:, 0] = 1
    assert "class 0 has 20 samples, class 1 has 0" in class_sizes_note(as_target_data(columns))
    assert class_sizes_note(as_target_data(np.linspace(0, 1, 5))) is None


def test_a_table_of_text_is_bounded(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("text,label\na,x\nb,y\n")
    whole = path.stat().st_size
    monkeypatch.setattr(delimited, "MOST", whole)
    assert len(as_target_data(path)) == 2
    monkeypatch.setattr(delimited, "MOST", whole - 1)
    with pytest.raises(ValueError, match=rf"t.csv must have at most {whole - 1} bytes"):
        as_target_data(path)
