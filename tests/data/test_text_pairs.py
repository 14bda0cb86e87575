"""Pairs of texts as samples: from tables, data sets and lists, with their order and digests."""

import pytest
import torch

from hubfast import as_target_data
from hubfast.data.reading import need_no_look
from hubfast.data.texts import TextPair, Word, as_text, is_text
from hubfast.extraction.digests import digest_of, sample_digests

ROWS = [("a man eats", "he eats", "yes"), ("it rains", "it snows", "no"), ("x, y", "NA", "yes")]
PAIRS = [TextPair(first, second) for first, second, _ in ROWS]
COLUMNS = ("premise", "hypothesis")


def table(path, separator=","):
    rows = [[*COLUMNS, "label"], *ROWS]
    lines = [separator.join(f'"{cell}"' for cell in row) for row in rows]
    path.write_text("\n".join(lines))
    return path


def parquet(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = zip(*ROWS, strict=True)
    pq.write_table(pa.table(dict(zip([*COLUMNS, "label"], columns, strict=True))), path)
    return path


def data_set(path=None, form=None):
    datasets = pytest.importorskip("datasets")
    columns = map(list, zip(*ROWS, strict=True))
    found = datasets.Dataset.from_dict(dict(zip([*COLUMNS, "label"], columns, strict=True)))
    if form == "transform":
        return found.with_transform(lambda batch: batch)
    return found


MAKERS = {
    "csv": lambda folder: table(folder / "a.csv"),
    "tsv": lambda folder: table(folder / "a.tsv", "\t"),
    "parquet": lambda folder: parquet(folder / "a.parquet"),
    "hf": lambda folder: data_set(),
    "hf with a transform": lambda folder: data_set(form="transform"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_two_columns_are_pairs(tmp_path, kind):
    data = as_target_data(MAKERS[kind](tmp_path), sample_column=COLUMNS, progress=False)
    assert [data[i] for i in range(3)] == PAIRS
    assert data.class_names == ("no", "yes")
    assert data.targets.tolist() == [1, 0, 1]
    swapped = as_target_data(MAKERS[kind](tmp_path), sample_column=COLUMNS[::-1], progress=False)
    assert swapped[0] == TextPair("he eats", "a man eats")
    wanted = [digest_of(pair) for pair in PAIRS]
    assert sample_digests(data, torch.arange(3)) != sample_digests(swapped, torch.arange(3))
    assert len({*wanted}) == 3


@pytest.mark.parametrize("as_a", [tuple, list])
def test_lists_of_two_strings_are_pairs(as_a):
    samples = [as_a(pair) for pair in PAIRS]
    data = as_target_data((samples, ["yes", "no", "yes"]))
    assert [data[i] for i in range(3)] == PAIRS
    assert need_no_look(data)


def test_pairs_may_have_several_labels():
    data = as_target_data(([list(pair) for pair in PAIRS], [["x"], ["x", "y"], []]))
    assert (data.task, data[1]) == ("multilabel", PAIRS[1])


def test_a_data_set_of_pairs_gives_both_texts():
    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            first, second, label = ROWS[index]
            return (first, second), int(label == "yes")

    data = as_target_data(Pairs(), progress=False)
    assert [data[i] for i in range(3)] == PAIRS


def test_pairs_that_differ_have_digests_that_differ():
    samples = [
        *("ab", TextPair("a", "b"), TextPair("ab", ""), TextPair("", "ab"), TextPair("b", "a")),
        *(Word(("a", "b"), 0), Word(("a", "b"), 1), Word(("ab",), 0), Word(("a", "b", ""), 0)),
        *(TextPair("1 1\na", "b"), TextPair("1", "1\nab")),
    ]
    assert len({digest_of(sample) for sample in samples}) == len(samples)
    assert all(map(is_text, samples))


@pytest.mark.parametrize(
    "sample", [("a",), ("a", "b", "c"), ("a", 1), 3, None, Word(("a", "b"), 1)]
)
def test_what_is_no_pair_stays_as_it_is(sample):
    assert as_text(sample) is sample


def test_a_missing_text_of_a_pair_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("premise,hypothesis,label\na,b,x\nc, ,y\nd,,x\n")
    with pytest.raises(ValueError, match=r"'hypothesis' of .* missing in 2 of 3 rows: \[3, 4\]"):
        as_target_data(path, sample_column=COLUMNS)


def test_an_hf_row_without_a_text_is_left_out_and_said():
    datasets = pytest.importorskip("datasets")
    rows = {"premise": ["a"] * 40, "hypothesis": ["b"] * 39 + [None], "label": [0, 1] * 20}
    data = as_target_data(datasets.Dataset.from_dict(rows), sample_column=COLUMNS)
    with pytest.raises(TypeError, match="sample 39: a pair must be of two texts, got None"):
        data[39]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("premise", "hypothesis", "label"), "one column, or two of texts"),
        (("premise", "premise"), "one column, or two of texts"),
        (("premise", "conclusion"), "no column 'conclusion', there are"),
    ],
)
def test_columns_that_are_no_pair_are_refused(tmp_path, columns, message):
    with pytest.raises(ValueError, match=message):
        as_target_data(table(tmp_path / "a.csv"), sample_column=columns)


def test_images_are_no_part_of_a_pair(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("image,text,label\na.png,b,x\nc.png,d,y\n")
    with pytest.raises(ValueError, match="two sample columns must hold texts, 'image' holds image"):
        as_target_data(path, sample_column=("text", "image"))


def test_two_columns_of_texts_are_not_guessed(tmp_path):
    with pytest.raises(ValueError, match="name one, or two for samples that are pairs"):
        as_target_data(table(tmp_path / "a.csv"))
