"""Words as samples: from column files, tables, data sets and lists; sentences stay whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast import as_target_data
from hubfast.data.clusters import whole_clusters
from hubfast.data.order import block_ends, seeded_order
from hubfast.data.texts import Word
from hubfast.extraction.feed import Feed
from hubfast.ranking.looks import look_sizes

SENTENCES = [["EU", "rejects", "German", "call"], ["Peter", "Blackburn"], ["#", "1"]]
TAGS = [["B-ORG", "O", "B-MISC", "O"], ["B-PER", "I-PER"], ["O", "O"]]
WORDS = [word for sentence in SENTENCES for word in sentence]
FLAT = [tag for tags in TAGS for tag in tags]
NAMES = ("B-MISC", "B-ORG", "B-PER", "I-PER", "O")


def checked(data):
    """Whether `data` are the words above."""
    words = [Word(tuple(s), i) for s in SENTENCES for i in range(len(s))]
    assert [data[i] for i in range(len(data))] == words
    assert [data.class_names[t] for t in data.targets] == FLAT
    assert data.clusters.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    assert data.task == "classification"
    assert "samples are the 8 words of 3 sentences" in data.notes


COLUMN_FILES = {
    "a.conll": "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\nGerman JJ B-MISC\ncall NN O\n\n"
    "Peter NNP B-PER\nBlackburn NNP I-PER\n\n\n# CD O\n1 CD O",
    "b.iob": "\r\n".join(
        [
            "# id 7 domain=en",
            *(f"{w}\t{t}" for w, t in zip(WORDS, FLAT, strict=True)),
        ]
    ),
}


def test_a_column_file(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text(COLUMN_FILES["a.conll"])
    data = as_target_data(path)
    checked(data)
    assert "words are column 1, tags are column 3, of 3" in data.notes
    assert data.name_of(5) == "word 1 of sentence 8 ('Blackburn')"
    other = as_target_data(path, target_columns="2")
    assert other.class_names == ("CD", "JJ", "NN", "NNP", "VBZ")
    (tmp_path / "train.txt").write_text(COLUMN_FILES["a.conll"])
    checked(as_target_data(f"conll:{tmp_path / 'train.txt'}"))


def test_comments_and_windows_line_ends(tmp_path):
    path = tmp_path / "b.iob"
    path.write_bytes(COLUMN_FILES["b.iob"].encode())
    data = as_target_data(path)
    assert len(data.clusters.unique()) == 1
    assert [data[i].text for i in range(8)] == WORDS


UNIVERSAL = """# sent_id = 1
# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\tV\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\t_
3\t#\t#\tSYM\tF\t_\t1\tobl\t_\t_
8.1\tnada\tnada\tVERB\tV\t_\t_\t_\t_\t_

1\tmar\tmar\tNOUN\tN\t_\t0\troot\t_\t_
"""


def test_universal_dependencies(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_text(UNIVERSAL)
    data = as_target_data(path)
    assert [data[i].text for i in range(4)] == ["vamos", "nos", "#", "mar"]
    assert [data.class_names[t] for t in data.targets] == ["VERB", "PRON", "SYM", "NOUN"]
    assert data.clusters.tolist() == [0, 0, 0, 1]
    by_name = as_target_data(path, sample_column="LEMMA", target_columns="XPOS")
    assert by_name[0].text == "ir"
    assert by_name.class_names == ("F", "N", "P", "V")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a X\nb\nc Y\n", {}, r"must have 2 columns, got others in lines \[2\]"),
        ("\n\n", {}, "must hold words, got none"),
        ("a X\n", {"target_columns": "3"}, r"no column '3' in .* there are \['1', '2'\]"),
        ("a X\n", {"target_columns": ["1", "2"]}, "target_columns of a file of words must be one"),
        ("a X\n", {"target_columns": "1"}, "a column of words and one of tags, got '1'"),
        ("a\nb\n", {}, "a column of words and one of tags, got '1'"),
    ],
)
def test_column_files_that_do_not_fit(tmp_path, content, options, message):
    path = tmp_path / "a.conll"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        as_target_data(path, **options)


def test_lists(tmp_path):
    checked(as_target_data((SENTENCES, TAGS)))


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"tokens": SENTENCES, "ner_tags": TAGS}), tmp_path / "a.parquet")
    checked(as_target_data(tmp_path / "a.parquet"))


def test_a_data_set_with_named_tags():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "tokens": datasets.List(datasets.Value("string")),
            "pos_tags": datasets.List(datasets.Value("int64")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=list(NAMES))),
        }
    )
    rows = {
        "id": ["0", "1", "2"],
        "tokens": SENTENCES,
        "pos_tags": [[0] * len(s) for s in SENTENCES],
        "ner_tags": [[NAMES.index(t) for t in tags] for tags in TAGS],
    }
    data_set = datasets.Dataset.from_dict(rows, features=features)
    data = as_target_data(data_set)
    checked(data)
    assert data.class_names == NAMES
    assert as_target_data(data_set, target_columns="pos_tags").class_names is None


def test_lists_of_labels_of_texts_are_no_words():
    datasets = pytest.importorskip("datasets")
    rows = {"text": ["a b", "c d"], "labels": [["x"], ["x", "y"]], "keys": [["k"], ["l"]]}
    data = as_target_data(datasets.Dataset.from_dict(rows))
    assert (data.task, data[0]) == ("multilabel", "a b")


@pytest.mark.parametrize(
    ("sentences", "tags", "message"),
    [
        ([["a", "b"], ["c"]], [["X", "Y"], ["X", "Y"]], "row 1 of 'samples' must have one tag"),
        ([["a"], ["c"]], [["X"], [None]], r"missing in 1 of 2 rows: \[1\]"),
        ([["a"], ["c"]], [["X"]], "'targets' must be as many as 'samples', got 1 for 2"),
        ([[]], [], "'targets' must be as many as 'samples', got 0 for 1"),
    ],
)
def test_words_and_tags_that_do_not_fit(sentences, tags, message):
    with pytest.raises(ValueError, match=message):
        as_target_data((sentences, tags))


def word_data(lengths, seed=0):
    generator = np.random.default_rng(seed)
    sentences = [[f"w{i}"] * length for i, length in enumerate(lengths)]
    tags = [["xy"[i % 2] for i in generator.permutation(n)] for n in lengths]
    return as_target_data((sentences, tags))


LENGTHS = st.lists(st.integers(0, 60), min_size=3, max_size=80).filter(lambda x: sum(x) > 40)


@settings(max_examples=40, deadline=None)
@given(lengths=LENGTHS, seed=st.integers(0, 5))
def test_order_and_blocks_hold_whole_sentences(lengths, seed):
    data = word_data(lengths)
    order = seeded_order(data.targets, data.task, seed, data.clusters)
    assert order.sort().values.tolist() == [*range(len(data))]
    clusters = data.clusters[order]
    ends = block_ends(len(data), clusters)
    assert ends[-1] == len(data)
    assert list(ends) == sorted({*ends})
    for end in ends[:-1]:
        assert clusters[end - 1] != clusters[end]
    for usual in block_ends(len(data)):
        moved = min(end for end in ends if end >= usual)
        assert (clusters[usual - 1 : moved] == clusters[usual - 1]).all()
    inside = order[clusters == clusters[0]]
    assert inside.tolist() == sorted(inside.tolist())
    cut = whole_clusters(clusters, 1)
    assert cut == int((data.clusters == clusters[0]).sum())


@settings(max_examples=20, deadline=None)
@given(lengths=LENGTHS, share=st.floats(0.1, 0.6))
def test_a_split_keeps_sentences_whole(lengths, share):
    data = word_data(lengths)
    if round(share * len(data)) + max(lengths) >= len(data):
        return  # there may be no whole sentence left
    first, second = data.split(share)
    assert not {*first.clusters.tolist()} & {*second.clusters.tolist()}
    assert len(first) + len(second) == len(data)
    assert len(first) >= round(share * len(data))


def test_a_feed_and_its_looks_are_at_the_ends_of_sentences():
    data = word_data([7] * 400)
    order = seeded_order(data.targets, data.task, 0, data.clusters)
    feed = Feed(data.subset(order), memory=1 << 20, max_unreadable=0.05)
    assert feed.ends[:3] == (133, 259, 518)
    looks = look_sizes(len(data), 2, feed.ends)
    assert looks == (133, 259, 518, 1029, 2051, 2800)
    assert {*looks} <= {*feed.ends}
    block = feed.known(0)
    assert torch.equal(block.clusters, data.clusters[order][:133])


def test_spaces_that_are_no_separators_stay_in_words(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("10\u00a0000 X\nb Y\n", encoding="utf-8")
    data = as_target_data(path)
    assert [data[i].text for i in range(2)] == ["10\u00a0000", "b"]
