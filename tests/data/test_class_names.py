"""Classes are matched by name wherever two data sets meet; nothing depends on their order."""

import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, Subset
from torchvision.datasets import ImageFolder

from hubfast.data import TargetData, as_target_data
from hubfast.hub import as_source
from hubfast.ranking import RankedModel, Ranking
from hubfast.tuning import ImageDataset, Recipe, TargetEncoder, Trainer, aligned, evaluate, tune
from hubfast.tuning.choice import choose_models

COLOURS = {
    "amber": (250, 190, 0),
    "brown": (110, 60, 20),
    "cyan": (0, 220, 220),
    "red": (230, 0, 0),
}


def classes(ids, names=None, name="some"):
    """Target data without samples."""
    given = None if names is None else tuple(names)
    return TargetData(name, None, torch.as_tensor(ids), "classification", given)


def folder(path, names, count=6):
    """A folder of images, each class of one colour."""
    rng = np.random.default_rng(0)
    for name in names:
        (path / name).mkdir(parents=True)
        for k in range(count):
            noise = rng.integers(-20, 20, (8, 8, 3))
            pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path / name / f"{k}.png")
    return path


class Nearest(nn.Module):
    """Logits by the distance of an image's mean colour to each class's: never wrong here."""

    def __init__(self, names):
        super().__init__()
        self.colours = torch.tensor([COLOURS[name] for name in names]) / 255

    def forward(self, images):
        return -torch.cdist(images.mean((2, 3)), self.colours)


def test_a_test_folder_that_lacks_a_class(tmp_path):
    train = as_target_data(folder(tmp_path / "train", COLOURS))
    test = as_target_data(folder(tmp_path / "test", ["amber", "cyan", "red"]))
    labels = TargetEncoder.of(train)
    pictures = ImageDataset(test, labels, (8, 8))
    assert pictures.targets.unique().tolist() == [0, 2, 3]
    assert evaluate(Nearest(labels.names), pictures, labels).value == 1
    assert pictures.notes == ("data 'test' has no samples of 1 of the 4 classes trained on: brown",)


def test_tune_scores_every_class_as_itself(tmp_path):
    """With `brown` missing from the test folder, positions would call red what is cyan."""
    train = folder(tmp_path / "train", COLOURS)
    test = folder(tmp_path / "test", ["amber", "cyan", "red"])
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    hub = {"net": as_source(net, transform=to_tensor)}
    recipe = Recipe(epochs=40, batch_size=6, lr=0.3, weight_decay=0.0)
    trainer = Trainer(recipe, accelerator="cpu", progress=False)
    tuned = tune(
        hub, train, method="single", top=1, test=test, trainer=trainer,
        validation=as_target_data(folder(tmp_path / "held", ["red", "amber"])),
    )  # fmt: skip
    assert tuned.evaluations["test"].value == 1
    assert tuned.evaluations["validation"].value == 1
    assert tuned.notes == (
        "validation: data 'held' has no samples of 2 of the 4 classes trained on: brown, cyan",
        "test: data 'test' has no samples of 1 of the 4 classes trained on: brown",
    )
    with pytest.raises(ValueError, match=r"data 'train' has classes that the training .*: brown"):
        tune(hub, test, method="single", top=1, test=train, trainer=trainer)


def to_tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def test_unknown_classes_are_named():
    labels = TargetEncoder.of(classes([0, 1], ["ant", "bee"]))
    with pytest.raises(ValueError, match="lacks: cat, dog; the training data has ant, bee"):
        aligned(classes([0, 1, 2], ["bee", "cat", "dog"]), labels)


def test_names_without_samples_are_no_classes_of_the_data():
    """A list of names is longer than the classes that have samples, on either side."""
    labels = TargetEncoder.of(classes([0, 2], ["ant", "bee", "cat"]))
    assert labels.names == ("ant", "cat")
    found = aligned(classes([1, 1, 0], ["cat", "ant", "bee"]), labels)
    assert found.targets.tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="lacks: bee"):
        aligned(classes([2], ["cat", "ant", "bee"]), labels)


def test_ids_are_compared_where_neither_side_has_names():
    labels = TargetEncoder.of(classes([3, 7, 7, 9]))
    found = aligned(classes([9, 3, 9]), labels)
    assert found.targets.tolist() == [2, 0, 2]
    assert found.notes == ("data 'some' has no samples of 1 of the 3 classes trained on: 7",)
    with pytest.raises(ValueError, match="lacks: 0, 1; the training data has 3, 7, 9"):
        aligned(classes([0, 1, 3]), labels)


@pytest.mark.parametrize("named_side", ["train", "test"])
def test_names_of_one_side_only(named_side):
    words, none = classes([0, 1, 2], ["ant", "bee", "cat"]), classes([2, 0, 1])
    train, test = (words, none) if named_side == "train" else (none, words)
    found = aligned(test, TargetEncoder.of(train))
    assert found.targets.tolist() == test.targets.tolist()
    side = "data 'some'" if named_side == "train" else "the training data"
    assert found.notes == (
        f"{side} has no class names: classes are matched by id (0 = ant, 1 = bee, 2 = cat)",
    )
    with pytest.raises(ValueError, match="has classes that the training data lacks: 5"):
        aligned(classes([5]), TargetEncoder.of(words))


def test_names_that_are_numbers_are_matched_with_ids():
    """Folders "0" to "10" are sorted as words, so that their positions are not their numbers."""
    names = sorted(map(str, range(11)))  # 0, 1, 10, 2, ...
    named, plain = classes(torch.arange(11), names), classes([10, 2, 0])
    found = aligned(plain, TargetEncoder.of(named))
    assert [names[k] for k in found.targets] == ["10", "2", "0"]
    assert "class ids are matched with names that are numbers" in found.notes[0]
    back = aligned(named, TargetEncoder.of(classes(torch.arange(11))))
    assert back.targets.tolist() == [int(name) for name in names]
    with pytest.raises(ValueError, match="lacks: 11"):
        aligned(classes([11]), TargetEncoder.of(named))


def test_names_that_are_not_unique():
    """ImageNet has two cranes: equal lists of names are matched, others cannot be."""
    labels = TargetEncoder.of(classes([0, 1, 2], ["crane", "owl", "crane"]))
    assert aligned(classes([2, 0], ["crane", "owl", "crane"]), labels).targets.tolist() == [2, 0]
    with pytest.raises(ValueError, match="class names must differ to be matched, got 'crane'"):
        aligned(classes([1], ["owl", "crane"]), labels)


def test_accents_in_both_spellings_are_one_name():
    composed, split = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    labels = TargetEncoder.of(classes([0, 1], ["bar", composed]))
    assert aligned(classes([0], [split]), labels).targets.tolist() == [1]


@pytest.mark.parametrize("wrong", [3, -1])
def test_an_id_without_a_name_is_refused(wrong):
    """-1, which marks samples without a label, is not the last name."""
    data = classes([0, 1, wrong], ["ant", "bee", "cat"])
    with pytest.raises(ValueError, match=f"3 names and class ids {wrong}$"):
        TargetEncoder.of(data)
    with pytest.raises(ValueError, match="class_names of data 'some' must name every class"):
        aligned(data, TargetEncoder.of(classes([0, 1])))


def columns(values, names, task, name="some"):
    return TargetData(name, None, torch.tensor(values, dtype=torch.float64), task, names)


def test_multilabel_columns_by_name():
    labels = TargetEncoder.of(columns([[1, 0, 1], [0, 1, 1]], ("sun", "sea", "sky"), "multilabel"))
    found = aligned(columns([[1, 0], [1, 1]], ("sky", "sun"), "multilabel"), labels)
    assert found.targets.tolist() == [[0, 0, 1], [1, 0, 1]]
    assert found.notes == ("data 'some' has no samples of 1 of the 3 classes trained on: sea",)
    with pytest.raises(ValueError, match="labels that the training data lacks: ice"):
        aligned(columns([[1, 1]], ("sky", "ice"), "multilabel"), labels)
    assert aligned(columns([[1, 0]], ("sky", "ice"), "multilabel"), labels).targets.sum() == 1


def test_regression_columns_by_name():
    labels = TargetEncoder.of(columns([[1.0, 5.0], [2.0, 9.0]], ("x", "y"), "regression"))
    found = aligned(columns([[5.0, 1.0]], ("y", "x"), "regression"), labels)
    assert found.targets.tolist() == [[1.0, 5.0]]
    with pytest.raises(ValueError, match="lacks target columns that the training data has: y"):
        aligned(columns([[1.0]], ("x",), "regression"), labels)
    with pytest.raises(ValueError, match="target columns that the training data lacks: z"):
        aligned(columns([[1.0, 1.0, 2.0]], ("x", "y", "z"), "regression"), labels)
    found = aligned(columns([[1.0, 5.0]], None, "regression"), labels)
    assert "has no names of target columns: they are matched by their order" in found.notes[0]
    with pytest.raises(ValueError, match="must have 2 target columns, got 1"):
        aligned(columns([[1.0]], None, "regression"), labels)
    assert aligned(columns([[1.0, 5.0]], ("x", "y"), "regression"), labels).notes == ()


def test_another_task_is_refused():
    message = r"must have targets for classification, .*, got regression"
    with pytest.raises(ValueError, match=message):
        aligned(columns([[1.0]], None, "regression"), TargetEncoder.of(classes([0, 1])))


def test_average_precision_leaves_out_labels_that_no_sample_has():
    """By hand: perfect scores of the one label that the data has."""
    images, _ = tiny.coloured(4)
    train = as_target_data((list(images), np.array([[1, 0], [0, 1], [1, 1], [0, 0]])))
    test = as_target_data((list(images), np.array([[1, 0], [0, 0], [1, 0], [0, 0]])))
    labels = TargetEncoder.of(train)
    pictures = ImageDataset(test, labels, tiny.SIZE)

    class Oracle(nn.Module):
        def forward(self, images):
            return pictures.targets - 0.5

    assert evaluate(Oracle(), pictures, labels).value == 1


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_accuracy_does_not_depend_on_the_order_of_classes(data):
    """Ids of both sides are permuted or lie anywhere, names stay: the accuracy stays."""
    names = data.draw(st.lists(st.text(min_size=1), min_size=2, max_size=6, unique_by=nfc))
    count = len(names)
    kinds = st.integers(0, count - 1)
    truth = data.draw(st.lists(kinds, min_size=1, max_size=12))
    guess = data.draw(st.lists(kinds, min_size=len(truth), max_size=len(truth)))
    train_order = data.draw(st.permutations(range(count)))
    test_order = data.draw(st.permutations(range(count)))
    labels = TargetEncoder.of(classes(train_order, renamed(names, train_order)))
    test = classes([test_order[k] for k in truth], renamed(names, test_order))
    outputs = [nfc(name) for name in labels.names]
    predicted = torch.tensor([outputs.index(nfc(names[k])) for k in guess])
    right = (aligned(test, labels).targets == predicted).double().mean()
    assert right == np.mean(np.array(truth) == np.array(guess))


def nfc(name):
    return unicodedata.normalize("NFC", name)


def renamed(names, order):
    """Names by id, where the k-th of them has the id `order[k]`."""
    found = dict(zip(order, names, strict=True))
    return [found[k] for k in range(len(order))]


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_labels_are_kept_in_plain_values(task):
    data = classes([0, 4], None) if task == "classification" else None
    data = data or columns([[0.0, 1.0], [1.0, 1.0]], ("x", "y"), task)
    labels = TargetEncoder.of(data)
    again = TargetEncoder.from_dict(labels.as_dict())
    again.check_same(labels)
    assert again.named == labels.named
    torch.testing.assert_close(aligned(data, again).targets, aligned(data, labels).targets)


def test_images_encoded_with_other_labels_are_refused():
    """Where the test data has made labels of its own, positions stand for other classes."""
    pictures, labels = tiny.pictures()
    other = TargetEncoder.of(classes([0, 1], ["ant", "bee"]))
    message = "must be encoded with the labels that the model is trained for, .* of ant, bee, got"
    with pytest.raises(ValueError, match=message):
        evaluate(tiny.model(), pictures, other)
    with pytest.raises(ValueError, match=message):
        Trainer(accelerator="cpu", progress=False).fit(tiny.model(), pictures, other)
    evaluate(tiny.model(), pictures, labels)


def test_a_checkpoint_of_other_classes_is_refused(tmp_path):
    trainer = Trainer(
        Recipe(epochs=1, batch_size=12), folder=tmp_path, accelerator="cpu", progress=False
    )
    target = tiny.data()
    for names, resume in (("abc", False), ("abc", True), ("acb", True)):
        named = replace(target, class_names=tuple(names))
        pictures = ImageDataset(named, TargetEncoder.of(named), tiny.SIZE)
        if names == "acb":
            with pytest.raises(ValueError, match="of a run with another classes"):
                trainer.fit(tiny.model(), pictures, pictures.labels, resume=resume)
        else:
            trainer.fit(tiny.model(), pictures, pictures.labels, resume=resume)


@pytest.mark.parametrize("mapped", [False, True])
def test_folders_that_are_joined(tmp_path, mapped):
    """In a ConcatDataset, too, a name is one class, whichever folder lacks another."""
    first = ImageFolder(folder(tmp_path / "1", ["amber", "brown", "red"], count=2))
    second = ImageFolder(folder(tmp_path / "2", ["cyan", "red"], count=2))
    both = ConcatDataset([first, second])
    data = as_target_data(Subset(both, [0, 2, 4, 6, 8, 9]) if mapped else both)
    wanted = ["amber", "amber", "brown", "brown", "red", "red", "cyan", "cyan", "red", "red"]
    wanted = [wanted[k] for k in (0, 2, 4, 6, 8, 9)] if mapped else wanted
    assert [data.class_names[k] for k in data.targets] == wanted
    for k, name in enumerate(wanted):
        colour = np.asarray(data[k]).mean((0, 1))
        assert np.abs(colour - COLOURS[name]).max() < 15
    same = ConcatDataset([first, first])
    assert as_target_data(same).class_names == ("amber", "brown", "red")
    nameless = [(np.zeros((8, 8, 3), np.uint8), 1)] * 3
    mixed = as_target_data(ConcatDataset([first, nameless]))
    assert mixed.class_names is None
    assert mixed.notes == (
        "parts [1] of the ConcatDataset have no class names: all are joined by number",
    )
    with pytest.raises(ValueError, match="part 1 of the ConcatDataset has none"):
        as_target_data(ConcatDataset([first, nameless, second]))


def ranking(*models):
    return Ranking(
        tuple(RankedModel(name, score, spec=spec) for name, spec, score in models),
        "logme", "some", "classification", 10,
    )  # fmt: skip


def sources(*models):
    return [replace(as_source(tiny.Small(), name=name), spec=spec) for name, spec in models]


def test_a_ranking_is_read_by_what_models_are():
    """Models of one name are numbered by their place in the hub, which may be another now."""
    known = ranking(("net", "timm:net@a.pt", 2.0), ("net (2)", "timm:net@b.pt", 1.0))
    hub = sources(("net", "timm:net@b.pt"), ("net (2)", "timm:net@a.pt"))
    assert [s.spec for s in choose_models(hub, known, 2, None)] == [
        "timm:net@a.pt",
        "timm:net@b.pt",
    ]
    other = sources(("net", "timm:net@c.pt"), ("net (2)", "timm:net@b.pt"))
    with pytest.raises(ValueError, match=r"its 'net' is timm:net@a.pt, the hub's is timm:net@c.pt"):
        choose_models(other, known, 1, None)
    with pytest.raises(ValueError, match="models that it lacks"):
        choose_models(sources(("other", None)), known, 1, None)
    plain = sources(("net", None), ("net (2)", None))  # objects are known by name only
    assert [s.name for s in choose_models(plain, known, 1, None)] == ["net"]
