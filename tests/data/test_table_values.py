"""What the cells of a table mean: words, numbers, nothing; how its file is written; its columns."""

import csv

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import hubfast
from hubfast import as_target_data
from hubfast.data import class_sizes_note, readable
from hubfast.data.cells import typed

TEXTS = ["one film", "a second", "three, of all", "fourth"]


def table(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def labelled(tmp_path, labels, **how):
    rows = "".join(f"words {i},{label}\n" for i, label in enumerate(labels))
    return as_target_data(table(tmp_path, f"text,label\n{rows}"), **how)


# Words, numbers, nothing


@pytest.mark.parametrize(
    "word", ["NA", "null", "None", "nan", "N/A", "NULL", "NaN", "n/a", "-nan", "<NA>"]
)
def test_words_that_look_like_nothing_are_words(tmp_path, word):
    data = labelled(tmp_path, ["EU", word, "EU", word])
    assert data.class_names == tuple(sorted(["EU", word]))
    assert data.class_names[int(data.targets[1])] == word
    assert not data.notes
    texts = as_target_data(table(tmp_path, f"text,label\n{word},0\nother,1\n"))
    assert [texts[0], texts[1]] == [word, "other"]


def test_empty_labels_are_counted_and_named_by_row(tmp_path):
    with pytest.raises(ValueError, match=r"have a 'label', missing in 2 of 5 rows: \[3, 5\]"):
        labelled(tmp_path, ["x", "", "y", " ", "x"])
    with pytest.raises(ValueError, match=r"missing in 7 of 8 rows: \[3, 4, 5, 6, 7\] and 2 more"):
        labelled(tmp_path, ["x", *[""] * 7])


@pytest.mark.parametrize("nothing", ["", "NaN", "nan"])
def test_in_numbers_an_empty_cell_and_nan_are_missing(tmp_path, nothing):
    with pytest.raises(ValueError, match=r"have a 'label', missing in 1 of 3 rows: \[3\]"):
        labelled(tmp_path, ["0.5", nothing, "2"])
    with pytest.raises(ValueError, match=r"have a 'label', missing in 1 of 3 rows: \[4\]"):
        labelled(tmp_path, ["0", "1", nothing])


def test_empty_texts_are_counted_and_named_by_row(tmp_path):
    file = table(tmp_path, 'text,label\nx,0\n"",1\n  ,0\ny,1\n')
    with pytest.raises(ValueError, match=r"'text' of .* missing in 2 of 4 rows: \[3, 4\]"):
        as_target_data(file)


def test_rows_are_those_of_a_spreadsheet(tmp_path):
    text = 'text,label\n"two\nlines",x\n\nb,y\nc,\n'  # the blank row counts
    with pytest.raises(ValueError, match=r"missing in 1 of 3 rows: \[5\]"):
        as_target_data(table(tmp_path, text))


@pytest.mark.parametrize(
    ("labels", "task", "targets"),
    [
        (["2", "0", "1"], "classification", [2, 0, 1]),
        (["-1", "+1", "-1"], "classification", [-1, 1, -1]),
        (["0.5", "1", "2e-1"], "regression", [0.5, 1, 0.2]),
        (["True", "False", "true"], "classification", [1, 0, 1]),
        (["1.0", "0.0", "1.0"], "regression", [1, 0, 1]),
    ],
)
def test_columns_of_numbers(tmp_path, labels, task, targets):
    data = labelled(tmp_path, labels)
    assert (data.task, data.class_names) == (task, None)
    assert data.targets.flatten().tolist() == targets


def test_leading_zeros_are_names(tmp_path):
    data = labelled(tmp_path, ["007", "7", "007", "12"])
    assert data.class_names == ("007", "12", "7")
    assert data.targets.tolist() == [0, 2, 0, 1]
    numbers = labelled(tmp_path, ["007", "7", "007", "12"], task="regression")
    assert numbers.targets.flatten().tolist() == [7, 7, 7, 12]
    long = labelled(tmp_path, ["12345678901234567890", "12345678901234567891"])
    assert len(long.class_names) == 2


def test_numbers_among_words_are_words_and_said(tmp_path):
    data = labelled(tmp_path, ["1", "2", "none of them", "1"])
    assert data.class_names == ("1", "2", "none of them")
    (note,) = data.notes
    assert note == (
        "'label' holds numbers and the words 'none of them', in rows [4]: all are taken as names "
        "of classes"
    )


@pytest.mark.parametrize("labels", [["1", "NA", "2"], ["0.5", "null", "1.5"], ["0.5", "high", "2"]])
def test_numbers_that_lack_some_are_asked_about(tmp_path, labels):
    with pytest.raises(
        ValueError, match=rf"holds numbers and the words '{labels[1]}', in rows \[3\]"
    ):
        labelled(tmp_path, labels)
    assert len(labelled(tmp_path, labels, task="classification").class_names) == 3


def test_a_set_of_labels_may_be_empty(tmp_path):
    data = labelled(tmp_path, ["red;big", "", "red"], task="multilabel")
    assert data.class_names == ("big", "red")
    assert data.targets.tolist() == [[1, 1], [0, 0], [0, 1]]


def test_several_columns_of_flags(tmp_path):
    file = table(tmp_path, "text,a,b\nx,True,0\ny,False,1\n")
    data = as_target_data(file, target_columns=["a", "b"])
    assert (data.task, data.class_names) == ("multilabel", ("a", "b"))
    assert data.targets.tolist() == [[1, 0], [0, 1]]


def test_typed_keeps_words_as_they_stand():
    words = [" a", "b ", "NA", "7up"]
    assert typed(words, "x", None, range(4)).values == words


# How the file is written


def written(separator, ending="\n"):
    rows = [f"{text}{separator}{'yn'[i % 2]}" for i, text in enumerate(["é a", "b", "ü c", "d"])]
    return ending.join([f"text{separator}label", *rows, ""])


def is_whole(data) -> bool:
    return [data[i] for i in range(4)] == ["é a", "b", "ü c", "d"] and data.class_names == (
        "n",
        "y",
    )


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.CSV"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_separators_are_found_and_said(tmp_path, separator, name, ending):
    data = as_target_data(table(tmp_path, written(separator, ending), name))
    assert is_whole(data)
    usual = separator == ("\t" if name == "t.tsv" else ",")
    assert bool(data.notes) != usual
    assert usual or f"columns of {name} are separated by " in data.notes[0]


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", "read as utf-16"),
        ("utf-16-le", "read as utf-16-le"),
        ("utf-16-be", "read as utf-16-be"),
        ("utf-32", "read as utf-32"),
        ("cp1252", "not in UTF-8 (line 2) and is read as cp1252"),
        ("latin-1", "not in UTF-8 (line 2) and is read as cp1252"),
    ],
)
def test_encodings_are_found_and_said(tmp_path, encoding, said):
    data = as_target_data(table(tmp_path, written(","), encoding=encoding))
    assert is_whole(data)
    assert len(data.notes) == (said is not None)
    assert said is None or said in data.notes[0]


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"PK\x03\x04 sheets")
    with pytest.raises(ValueError, match=r"t.csv is no text but a zip or Excel file; export it"):
        as_target_data(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"must hold samples, got none below its header"):
        as_target_data(table(tmp_path, ""))


def test_rows_that_do_not_fit_the_header_are_named(tmp_path):
    text = "text,label\nfine,x\nno, not so fine,y\nfine,x\n"
    with pytest.raises(
        ValueError, match=r"rows \[3\] have more cells than the header, which has 2"
    ):
        as_target_data(table(tmp_path, text))
    everywhere = "text,label\n" + "well, no,x\n" * 4  # pandas would take the first as an index
    with pytest.raises(ValueError, match=r"rows \[2, 3, 4, 5\] have more cells"):
        as_target_data(table(tmp_path, everywhere))
    trailing = as_target_data(table(tmp_path, "text,label\nfine,x,\nyes,y,,\n"))
    assert trailing.class_names == ("x", "y")


def test_quotes(tmp_path):
    fine = as_target_data(table(tmp_path, 'text,label\n"a, ""b""",x\nc, "y, z"\n'))
    assert (fine[0], fine.class_names) == ('a, "b"', ("x", "y, z"))
    with pytest.raises(ValueError, match=r"row 2 cannot be divided into cells"):
        as_target_data(table(tmp_path, 'text,label\n"never closed,x\nb,y\n'))
    tabs = as_target_data(table(tmp_path, 'text\tlabel\n"he said\tx\nno" more\ty\n', "t.tsv"))
    assert (tabs[0], len(tabs)) == ('"he said', 2)
    assert "quotes in t.tsv do not pair" in tabs.notes[0]


def test_the_line_of_excel_is_no_header(tmp_path):
    data = as_target_data(table(tmp_path, "sep=;\n" + written(";")))
    assert is_whole(data)
    with pytest.raises(ValueError, match=r"missing in 1 of 1 rows: \[3\]"):
        as_target_data(table(tmp_path, "sep=;\ntext;label\na;\n"))


def test_decimal_commas(tmp_path):
    data = as_target_data(table(tmp_path, "text;target\na;1,5\nb;2\nc;0,25\n"))
    assert (data.task, data.targets.flatten().tolist()) == ("regression", [1.5, 2, 0.25])
    assert "commas in the numbers of 'target'" in data.notes[1]


def test_long_cells_and_the_limit_of_the_process(tmp_path):
    before = csv.field_size_limit()
    data = as_target_data(table(tmp_path, f"text,label\n{'long ' * 50_000},x\nshort,y\n"))
    assert len(data[0]) == 250_000
    assert csv.field_size_limit() == before


# Columns


def columns(tmp_path, names, **how):
    frame = pd.DataFrame({n: [f"{n} {i}" for i in range(4)] for n in names})
    frame["label"] = ["x", "y"] * 2
    frame.to_csv(tmp_path / "t.csv", index=False)
    return as_target_data(tmp_path / "t.csv", **how)


PAIRS = [
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question", "context"),
    ("question", "sentence"),
    ("text_a", "text_b"),
    ("headline", "body"),
]


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs_of_texts_are_asked_about(tmp_path, pair):
    listed = rf"sample_column must say which, of \['{pair[0]}', '{pair[1]}', 'label'\]"
    with pytest.raises(ValueError, match=listed):
        columns(tmp_path, pair)
    data = columns(tmp_path, pair, sample_column=pair[1])
    assert data[2] == f"{pair[1]} 2"
    only = columns(tmp_path, pair, target_columns="label")  # as for stored features
    assert only.samples is None
    row = hubfast.rank({"m": lambda t: np.ones((len(t), 2))}, only, progress=False).models[0]
    assert f"of ['{pair[0]}', '{pair[1]}', 'label']" in row.error


def test_a_single_column_of_texts_is_taken_and_said(tmp_path):
    data = columns(tmp_path, ["id", "tweet"])
    assert data[1] == "tweet 1"
    assert data.notes == ("samples are the column 'tweet', of ['id', 'tweet', 'label']",)
    assert not columns(tmp_path, ["text", "label"]).notes
    assert "samples are the column 'text'" in columns(tmp_path, ["title", "text"]).notes[0]


def test_targets_alone(tmp_path):
    file = table(tmp_path, "id,label\n1,x\n2,y\n")
    data = as_target_data(file)
    assert data.samples is None
    assert data.notes == ("no column is taken as samples, of ['id', 'label']",)
    assert not as_target_data(table(tmp_path, "label\nx\ny\n")).notes
    with pytest.raises(ValueError, match=r"words are in \['split'\]; sample_column must say"):
        as_target_data(table(tmp_path, "split,label\ntrain,x\ntest,y\n"))


def test_other_columns_of_targets_are_said(tmp_path):
    data = as_target_data(table(tmp_path, "text,category,label\na,x,0\nb,y,1\n"))
    assert data.notes[0] == "targets are the column 'label', not ['category']"
    with pytest.raises(ValueError, match=r"has 2 columns 'label'"):
        as_target_data(table(tmp_path, "text,label,label\na,x,0\nb,y,1\n"))


@pytest.mark.parametrize("alike", [("cat", "Cat"), ("cat", "cat "), ("big cat", "big  cat")])
def test_names_that_look_alike_are_said(tmp_path, alike):
    data = labelled(tmp_path, [alike[0], alike[1], "dog"])
    assert len(data.class_names) == 3
    listed = ", ".join(map(repr, sorted(alike)))
    assert class_sizes_note(data) == f"classes differ by case or spaces only: {listed}"


def test_labels_that_are_none_are_asked_about(tmp_path):
    data = labelled(tmp_path, [f"customer {i}" for i in range(20)])
    assert class_sizes_note(data) == "there are 20 classes for 20 samples: are these labels?"
    assert class_sizes_note(labelled(tmp_path, list("ab") * 10)) is None


# Columns of images


@pytest.fixture
def shades(tmp_path):
    for i in range(24):
        Image.new("RGB", (6, 6), (10 * i, 0, 0)).save(tmp_path / f"{i}.png")
    return tmp_path


def pictures(folder, paths, name="image", **how):
    frame = pd.DataFrame({name: paths, "label": [i % 2 for i in range(len(paths))]})
    frame.to_csv(folder / "t.csv", index=False)
    return as_target_data(folder / "t.csv", **how)


def test_one_odd_suffix_leaves_paths_paths(shades):
    (shades / "5.png").rename(shades / "5.orig")
    (shades / "7.png").unlink()
    data = pictures(shades, [f"{i}.orig" if i == 5 else f"{i}.png" for i in range(24)])
    assert np.asarray(data[5])[0, 0].tolist() == [50, 0, 0]
    good = readable(data, progress=False)
    assert len(good) == 23
    assert f"{shades / '7.png'} (FileNotFoundError: " in good.notes[0]
    with pytest.raises(FileNotFoundError, match=r"7\.png"):
        data[7]


def test_paths_without_a_suffix_are_found_as_files(shades):
    for i in range(24):
        (shades / f"{i}.png").rename(shades / f"image{i}")
    data = pictures(shades, [f"image{i}" for i in range(24)])
    assert np.asarray(data[3])[0, 0].tolist() == [30, 0, 0]


def test_paths_as_windows_writes_them(shades):
    (shades / "sub").mkdir()
    for i in range(24):
        (shades / f"{i}.png").rename(shades / "sub" / f"{i}.png")
    data = pictures(shades, [f"sub\\{i}.png" for i in range(24)], "photo_of_it")
    assert np.asarray(data[3])[0, 0].tolist() == [30, 0, 0]


def test_files_that_are_no_images_are_no_texts(tmp_path):
    with pytest.raises(
        ValueError, match=r"\['file'\] names no files of images; sample_column must"
    ):
        pictures(tmp_path, [f"scan{i}.dcm" for i in range(4)], "file")
    with pytest.raises(
        ValueError, match=r"must be files, 4 of 4 are addresses such as https://x/0"
    ):
        pictures(tmp_path, [f"https://x/{i}.jpg" for i in range(4)])


def test_encoded_images_in_parquet(shades):
    content = [(shades / f"{i}.png").read_bytes() for i in range(4)]
    labels = ["x", "y"] * 2
    for values in (content, [{"bytes": c, "path": f"{i}.png"} for i, c in enumerate(content)]):
        pd.DataFrame({"photo": values, "label": labels}).to_parquet(shades / "t.parquet")
        data = as_target_data(shades / "t.parquet")
        assert [np.asarray(data[i])[0, 0, 0] for i in range(4)] == [0, 10, 20, 30]
    paths = [{"bytes": None, "path": f"{i}.png"} for i in range(4)]
    pd.DataFrame({"photo": paths, "label": labels}).to_parquet(shades / "t.parquet")
    data = as_target_data(shades / "t.parquet")
    assert np.asarray(data[2])[0, 0, 0] == 20
    assert data.name_of(2) == "2.png"


def test_parquet_types(tmp_path):
    from decimal import Decimal

    frame = pd.DataFrame({"text": list("abcd")})
    frame["label"] = pd.Categorical(["x", "y", "x", "y"], categories=["unused", "y", "x"])
    frame["count"] = pd.array([3, 1, 2, 3], dtype="Int64")
    frame["price"] = [Decimal("1.5"), Decimal("2"), Decimal("0.25"), Decimal("3")]
    frame["lacking"] = pd.array([3, None, 2, 3], dtype="Int64")
    frame["word"] = ["NA", "null", "NA", "null"]
    frame.index = [4, 5, 7, 6]
    frame.to_parquet(tmp_path / "t.parquet")

    def read(column):
        return as_target_data(tmp_path / "t.parquet", target_columns=column)

    label = read("label")
    assert (label.class_names, label.targets.tolist()) == (("x", "y"), [0, 1, 0, 1])
    assert read("count").targets.tolist() == [3, 1, 2, 3]
    assert read("price").targets.flatten().tolist() == [1.5, 2, 0.25, 3]
    assert read("word").class_names == ("NA", "null")
    (tmp_path / "broken.parquet").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"broken.parquet cannot be read as Parquet: "):
        as_target_data(tmp_path / "broken.parquet")
    with pytest.raises(ValueError, match=r"have a 'lacking', missing in 1 of 4 rows: \[1\]"):
        read("lacking")


# Lists and series


def test_a_series_is_read_by_position():
    texts = pd.Series(list("abcd"), index=[3, 2, 1, 0])
    labels = pd.Series(["x", "y", "x", "y"], index=[3, 2, 1, 0], dtype="category")
    data = as_target_data((texts, labels))
    assert [data[i] for i in range(4)] == list("abcd")
    assert data.targets.tolist() == [0, 1, 0, 1]
    numbers = as_target_data((texts, pd.Series(pd.array([3, 1, 2, 3], dtype="Int64"))))
    assert numbers.targets.tolist() == [3, 1, 2, 3]
    with pytest.raises(ValueError, match=r"missing in 1 of 4 rows: \[1\]"):
        as_target_data((texts, pd.Series(["x", pd.NA, "y", "x"])))


def test_words_and_numbers_that_look_alike_are_refused():
    with pytest.raises(ValueError, match=r"'targets' must hold words or numbers, got 1 as both"):
        as_target_data((["a", "b", "c"], ["x", 1, "1"]))
    assert as_target_data((["a", "b"], ["x", 1])).class_names == ("1", "x")


def test_lists_of_paths_are_images(shades):
    paths = [shades / f"{i}.png" for i in range(4)]
    for given in (paths, list(map(str, paths))):
        data = as_target_data((given, [0, 1] * 2))
        assert np.asarray(data[3])[0, 0, 0] == 30
        assert data.name_of(3) == str(paths[3])


# Arrays


def test_an_archive_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.zeros((4, 8, 8), np.uint8), targets=np.arange(4) % 2)
    data = as_target_data(tmp_path / "t.npz")
    assert data.notes == (
        "t.npz holds no 'images' but ['targets', 'x']: its targets are taken alone",
    )
    with pytest.raises(
        ValueError, match=r"has targets only.*holds no 'images' but \['targets', 'x'\]"
    ):
        data[0]
    np.savez(tmp_path / "t.npz", targets=np.array(["a", None]))
    with pytest.raises(ValueError, match=r"t.npz cannot be read as arrays of numbers or of words"):
        as_target_data(tmp_path / "t.npz")
    (tmp_path / "t.npy").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"t.npy cannot be read as arrays"):
        as_target_data(tmp_path / "t.npy")
    np.savez(tmp_path / "t.npz", targets=np.array(["a", "b"]))
    assert as_target_data(tmp_path / "t.npz").class_names == ("a", "b")
