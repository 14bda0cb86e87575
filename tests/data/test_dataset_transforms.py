"""Samples and targets are those that a data set gives, its own transforms and formats included."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

import hubfast
from hubfast import as_target_data
from hubfast.data.torch_datasets import known_targets

COUNT = 12
SHADES = np.arange(COUNT) * 20


@pytest.fixture
def photos(tmp_path):
    """Image i is grey of shade 20 i; four for each of ant, bee and cow."""
    for i, shade in enumerate(SHADES):
        folder = tmp_path / "photos" / ("ant", "bee", "cow")[i // 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (int(shade),) * 3).save(folder / f"{i:02d}.png")
    return tmp_path / "photos"


def image_folder(photos, **transforms):
    from torchvision.datasets import ImageFolder

    return ImageFolder(str(photos), **transforms)


def taken(dataset):
    return as_target_data(dataset, progress=False)


def given(dataset) -> list:
    return [int(dataset[i][1]) for i in range(len(dataset))]


def is_two(target):
    return int(target == 2)


# torchvision


def test_a_transform_of_targets_counts(photos):
    dataset = image_folder(photos, target_transform=is_two)
    data = taken(dataset)
    assert data.targets.tolist() == given(dataset) != dataset.targets
    assert data.class_names is None  # those of the data set name other ids


def test_targets_are_known_without_reading_where_nothing_changes_them(photos):
    def never(image):
        raise AssertionError("read")

    dataset = image_folder(photos, transform=never)
    data = taken(dataset)
    assert data.targets.tolist() == dataset.targets
    assert data.class_names == ("ant", "bee", "cow")


def test_samples_taken_out_of_a_folder_count(photos):
    dataset = image_folder(photos)
    dataset.samples = dataset.samples[3:7]  # its targets stay behind
    assert taken(dataset).targets.tolist() == given(dataset) == [0, 1, 1, 1]


@pytest.mark.parametrize("name", ["CIFAR10", "MNIST", "SVHN"])
def test_attributes_of_torchvision_are_what_its_items_give(name, monkeypatch):
    import torchvision

    kind = getattr(torchvision.datasets, name)
    dataset = kind.__new__(kind)
    shape = {"CIFAR10": (8, 8, 3), "MNIST": (8, 8), "SVHN": (3, 8, 8)}[name]
    dataset.data = np.zeros((6, *shape), np.uint8)
    labels = np.array([3, 1, 2, 3, 1, 2])
    if name == "MNIST":
        dataset.data, dataset.targets = torch.from_numpy(dataset.data), torch.from_numpy(labels)
    elif name == "SVHN":
        dataset.labels = labels
    else:
        dataset.targets = labels.tolist()
    dataset.transform = dataset.transforms = dataset.target_transform = None
    assert np.asarray(known_targets(dataset)).tolist() == given(dataset) == labels.tolist()
    dataset.target_transform = is_two
    assert known_targets(dataset) is None
    assert taken(dataset).targets.tolist() == given(dataset)

    class Own(kind):
        def __getitem__(self, index):
            return super().__getitem__(index)[0], 7 - index

    dataset.__class__ = Own
    assert known_targets(dataset) is None


# Wrappers


def test_a_subset_has_the_order_and_names_of_its_own(photos):
    whole = image_folder(photos)
    part = Subset(whole, [11, 0, 5])
    part.targets = [9, 9, 9]  # as some libraries leave it
    data = taken(part)
    assert data.targets.tolist() == given(part) == [2, 0, 1]
    assert data.class_names == ("ant", "bee", "cow")
    assert [np.asarray(data[i]).max() for i in range(3)] == [220, 0, 100]
    twice = Subset(part, [2, 0])
    assert taken(twice).targets.tolist() == [1, 2]
    mapped = Subset(image_folder(photos, target_transform=is_two), [11, 0])
    assert taken(mapped).targets.tolist() == [1, 0]


def test_a_random_split(photos):
    parts = torch.utils.data.random_split(
        image_folder(photos), [7, 5], torch.Generator().manual_seed(0)
    )
    for part in parts:
        data = taken(part)
        assert data.targets.tolist() == given(part)
        shades = [int(np.asarray(data[i]).max()) for i in range(len(part))]
        assert [shade // 80 for shade in shades] == data.targets.tolist()


def test_a_concatenation(photos):
    whole = image_folder(photos)
    both = ConcatDataset([Subset(whole, [11, 4]), whole])
    data = taken(both)
    assert data.targets.tolist() == given(both)
    assert data.class_names == ("ant", "bee", "cow")
    other = TensorDataset(torch.zeros(2, 3, 8, 8), torch.tensor([1, 0]))
    assert taken(ConcatDataset([whole, other])).class_names is None


def test_tensors():
    dataset = TensorDataset(torch.rand(4, 3, 2, 2), torch.tensor([1, 0, 1, 0]), torch.arange(4))
    assert taken(dataset).targets.tolist() == [1, 0, 1, 0]


# Data sets of people's own


class Own(Dataset):
    """Pairs as they are given."""

    def __init__(self, pairs, **attributes):
        self.pairs = pairs
        self.read = 0
        self.__dict__.update(attributes)

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        self.read += 1
        pair = self.pairs[index]
        if isinstance(pair, Exception):
            raise pair
        return pair


def image(shade=0):
    return Image.new("RGB", (4, 4), (shade,) * 3)


def test_an_attribute_that_tells_otherwise_does_not_count():
    pairs = [(image(), i % 2) for i in range(4)]
    data = taken(Own(pairs, targets=[1, 0, 1, 0], classes=["no", "yes"]))
    assert data.targets.tolist() == [0, 1, 0, 1]
    assert data.class_names is None
    assert data.notes == (
        "the data set gives other targets than it keeps; those that it gives count",
    )
    same = taken(Own(pairs, targets=[0, 1, 0, 1], classes=["no", "yes"]))
    assert same.class_names == ("no", "yes")
    assert not same.notes
    mapped = taken(Own(pairs, classes=["no", "yes"], transforms=lambda x, y: (x, 1 - y)))
    assert mapped.class_names is None


@pytest.mark.parametrize("classes", [10, {"a": 0}, ["only"], None])
def test_names_that_do_not_fit_are_none(classes):
    assert taken(Own([(image(), 0), (image(), 1)], classes=classes)).class_names is None


@pytest.mark.parametrize(
    ("targets", "task", "values"),
    [
        (["b", "a", "b"], "classification", [1, 0, 1]),
        ([torch.tensor(1), torch.tensor(0), torch.tensor(2)], "classification", [1, 0, 2]),
        ([0.5, 1, 0.25], "regression", [[0.5], [1], [0.25]]),
        ([[0, 1], [1, 1], [0, 0]], "multilabel", [[0, 1], [1, 1], [0, 0]]),
        ([["a"], ["a", "b"], []], "multilabel", [[1, 0], [1, 1], [0, 0]]),
        ([np.float32(1.5)] * 3, "regression", [[1.5]] * 3),
    ],
)
def test_targets_of_every_kind(targets, task, values):
    data = taken(Own([[image(), target] for target in targets]))
    assert data.task == task
    assert data.targets.tolist() == values
    assert data[1].mode == "RGB"


def test_a_sample_that_cannot_be_read_is_left_out_and_named():
    pairs = [(image(i), i % 3) for i in range(30)]
    pairs[4] = OSError("image file is truncated")
    data = taken(Own(pairs))
    assert data.rows().tolist() == [i for i in range(30) if i != 4]
    assert data.targets.tolist() == [i % 3 for i in range(30) if i != 4]
    assert np.asarray(data[4]).max() == 5
    said = "1 of 30 samples cannot be read and are left out: sample 4 (OSError: image file is trunc"
    assert data.notes[0].startswith(said)
    seen = hubfast.rank({"m": lambda x: np.ones((len(x), 2))}, Own(pairs), progress=False)
    assert (seen.samples, len(seen.notes)) == (29, 1)
    with pytest.raises(
        ValueError, match=r"2 of 10 samples cannot be read, more than .*sample 4 \("
    ):
        taken(Own([*pairs[:5], *pairs[4:9]]))


def test_what_gives_no_pairs_is_named():
    with pytest.raises(
        ValueError, match=r"pairs \(sample, target\), item 0 is a dict of \['x', 'y'\]"
    ):
        taken(Own([{"x": 1, "y": 2}]))
    with pytest.raises(ValueError, match=r"pairs \(sample, target\), item 0 is a Image"):
        taken(Own([image()]))
    with pytest.raises(TypeError, match=r"targets must be numbers or words, got dicts"):
        taken(Own([(image(), {"boxes": []})]))
    with pytest.raises(ValueError, match=r"targets must have one shape, got \[\(1,\), \(2,\)\]"):
        taken(Own([(image(), [1]), (image(), [1, 2])]))
    with pytest.raises(ValueError, match=r"'targets', missing in 1 of 2 rows: \[1\]"):
        taken(Own([(image(), 1), (image(), None)]))

    class Stream(IterableDataset):
        def __iter__(self):
            yield image(), 0

    with pytest.raises(ValueError, match=r"must be a Dataset with a length, got Stream"):
        taken(Stream())


@pytest.mark.parametrize("kind", ["floats", "bytes"])
def test_a_transform_of_samples_counts(photos, kind):
    from torchvision.transforms import v2

    to_floats = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
    dataset = image_folder(photos, transform=to_floats if kind == "floats" else v2.PILToTensor())
    sample = taken(dataset)[7]
    if kind == "floats":
        assert torch.allclose(sample, torch.full((3, 8, 8), 140 / 255))
    else:
        assert np.array_equal(sample, np.full((8, 8, 3), 140))


# Hugging Face


@pytest.fixture
def hf(photos, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["ant", "bee", "cow"]),
            "text": datasets.Value("string"),
        }
    )
    paths = sorted(map(str, photos.rglob("*.png")))
    columns = {"image": paths, "label": [i // 4 for i in range(COUNT)]}
    columns["text"] = [f"words {i}" for i in range(COUNT)]
    return datasets.Dataset.from_dict(columns, features=features)


def shades(data) -> list[int]:
    return [int(np.asarray(data[i]).max()) for i in range(len(data))]


@pytest.mark.parametrize("kind", [None, "torch", "numpy", "pandas"])
def test_formats(hf, kind):
    data = taken(hf.with_format(kind))
    assert shades(data) == SHADES.tolist()
    assert data[3].size == (8, 8)
    assert data.class_names == ("ant", "bee", "cow")
    assert data.targets.tolist() == [i // 4 for i in range(COUNT)]


def test_a_format_that_omits_columns(hf):
    data = taken(hf.with_format("torch", columns=["label"]))
    assert shades(data) == SHADES.tolist()


def test_select_shuffle_and_map(hf):
    picked = hf.select([9, 0, 5])
    assert shades(taken(picked)) == [180, 0, 100]
    assert taken(picked).targets.tolist() == [2, 0, 1]
    shuffled = taken(hf.shuffle(seed=3))
    assert [shade // 80 for shade in shades(shuffled)] == shuffled.targets.tolist()
    mapped = taken(hf.map(lambda row: {"label": 2 - row["label"]}))
    assert mapped.targets.tolist() == [2 - i // 4 for i in range(COUNT)]


def test_a_transform_of_rows(hf):
    def rows(batch):
        pixels = [torch.from_numpy(np.asarray(x) / 255.0).permute(2, 0, 1) for x in batch["image"]]
        return {"pixel_values": pixels, "label": [2 - x for x in batch["label"]]}

    data = taken(hf.with_transform(rows))
    assert data.targets.tolist() == [2 - i // 4 for i in range(COUNT)]
    assert data.class_names is None  # they name the labels before
    assert "other targets than it keeps" in data.notes[-1]
    assert data[3].shape == (3, 8, 8)
    assert torch.allclose(data[3], torch.tensor(60 / 255))

    def same(batch):
        return {"image": [x.rotate(90) for x in batch["image"]], "label": batch["label"]}

    kept = taken(hf.with_transform(same))
    assert (kept.class_names, shades(kept)) == (("ant", "bee", "cow"), SHADES.tolist())
    with pytest.raises(ValueError, match=r"no column 'text', there are \['image', 'label'\]"):
        as_target_data(hf.with_transform(same), sample_column="text", progress=False)


def test_pairs_of_texts_are_asked_about(hf):
    pairs = hf.remove_columns("image").add_column("hypothesis", ["x"] * COUNT)
    pairs = pairs.rename_column("text", "premise")
    with pytest.raises(ValueError, match=r"sample_column must say which, of \['label', 'premise'"):
        taken(pairs)
    assert as_target_data(pairs, sample_column="premise")[1] == "words 1"
    single = taken(hf.remove_columns("image").rename_column("text", "tweet"))
    assert single[1] == "words 1"


def test_pixels_in_lists(hf):
    import datasets

    pixels = [[[i, 200], [0, 0]] for i in range(COUNT)]
    rows = datasets.Dataset.from_dict({"pixels": pixels, "label": [i % 2 for i in range(COUNT)]})
    assert np.asarray(taken(rows)[7])[..., 0].tolist() == [[7, 200], [0, 0]]


@pytest.mark.parametrize("labels", [["NA", "EU", "null", "NA"], ["0", "1", "1", "0"]])
def test_a_folder_of_csv_files_keeps_its_words(tmp_path, monkeypatch, labels):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "plain").mkdir()
    rows = "".join(f"None {i},{label},{i / 2}\n" for i, label in enumerate(labels))
    (tmp_path / "plain" / "train.csv").write_text(f"text,label,weight\n{rows}")
    data = as_target_data(f"hfdata:{tmp_path / 'plain'}")
    words = data.class_names or ("0", "1")
    assert [words[t] for t in data.targets.tolist()] == labels
    assert data[1] == "None 1"
    weights = as_target_data(f"hfdata:{tmp_path / 'plain'}", target_columns="weight")
    assert weights.targets.flatten().tolist() == [0, 0.5, 1, 1.5]
