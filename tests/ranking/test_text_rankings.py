"""Rankings of texts, pairs and words: every score of every task, caches, races, command line."""

import json

import numpy as np
import pytest
import torch
from text_models import FAMILIES
from typer.testing import CliRunner

from hubfast import rank
from hubfast.cli import app
from hubfast.scores.registry import SCORES

WORDS = ["good", "film", "bad", "a", "the", "very", "dull", "fine", "plot", "cast"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    for name in ("bert", "gpt2", "bert classifier"):
        torch.manual_seed(len(name))
        FAMILIES[name](folder / name).eval().save_pretrained(folder / name)
    return [f"hf:{folder / name}" for name in ("bert", "gpt2", "bert classifier")]


def texts(count, seed=0, longest=8):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, longest))) for _ in range(count)]


def targets(kind, samples):
    count = [np.array([text.split().count(word) for text in samples]) for word in ("good", "bad")]
    match kind:
        case "classification":
            return (count[0] > count[1]).astype(int)
        case "multilabel":
            return (np.stack(count, 1) > 0).astype(int)
        case _:
            return count[0] - count[1] + 0.5


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_every_score_of_a_task_works_on_texts(hub, kind):
    samples = [*texts(96), "", "very " * 60]
    known = [name for name, score in SCORES.items() if kind in score.tasks]
    metrics = [name for name in known if name != "imagenet" and "zero_shot" not in name]
    ranking = rank(hub, (samples, targets(kind, samples)), metrics=metrics, progress=False)
    assert ranking.task == kind
    for model in ranking.models:
        assert model.error is None
        without = {"leep", "nce"} if "classifier" not in model.name else set()
        failed = {name for name, score in model.scores.items() if score.score is None}
        assert failed <= without
        assert "1 of 98 texts cut at 24 tokens" in model.note


def words_of(samples, seed=0):
    sentences = [text.split() for text in samples]
    return sentences, [
        ["N" if w in ("film", "plot", "cast") else "O" for w in s] for s in sentences
    ]


DATA = {
    "texts": lambda: (texts(300), targets("classification", texts(300))),
    "pairs": lambda: (
        list(zip(texts(300), texts(300, 1), strict=True)),
        [int(a.split()[0] == b.split()[0]) for a, b in zip(texts(300), texts(300, 1), strict=True)],
    ),
    "words": lambda: words_of(texts(300)),
    "words of which sums are kept": lambda: words_of(texts(700, longest=12)),
}


def rows(ranking):
    return [(m.name, m.score, m.low, m.high, m.tied, m.note) for m in ranking.models]


@pytest.mark.parametrize("kind", DATA)
def test_a_ranking_is_the_same_from_the_cache_and_without_one(hub, kind, tmp_path, monkeypatch):
    data, hub = DATA[kind](), hub[:2]
    given = {"progress": False, "cache_dir": tmp_path}
    first = rank(hub, data, **given)
    assert [model.error for model in first.models] == [None] * 2
    assert rows(first) == rows(rank(hub, data, cache=False, progress=False))
    monkeypatch.setattr("hubfast.hub.transformers.text.TextNetwork.batches", None)
    assert rows(first) == rows(rank(hub, data, **given))
    other = rank(hub, data, metric="h_score", **given)
    assert [model.error for model in other.models] == [None] * 2


def test_a_race_over_words_looks_at_whole_sentences(hub):
    sentences, tags = words_of(texts(1200, longest=12))
    ranking = rank(hub, (sentences, tags), race=True, top=1, progress=False)
    ends = set(np.cumsum([len(s) for s in sentences]).tolist())
    assert ranking.race is not None
    assert ranking.models[0].standing == "accepted"
    assert all(model.samples > 100 for model in ranking.models)
    assert sum(len(s) for s in sentences) in ends
    assert any("words of 1200 sentences" in note for note in ranking.notes)


def test_pairs_on_the_command_line(hub, tmp_path):
    path = tmp_path / "pairs.csv"
    lines = ["premise,hypothesis,label"]
    pairs, labels = DATA["pairs"]()
    lines += [f"{a},{b},{'yes' if t else 'no'}" for (a, b), t in zip(pairs, labels, strict=True)]
    path.write_text("\n".join(lines))
    out = tmp_path / "out.json"
    columns = ["--sample-column", "premise", "--sample-column", "hypothesis"]
    found = CliRunner().invoke(
        app, ["rank", hub[0], "--data", str(path), *columns, "--json", str(out), "--quiet"]
    )
    assert found.exit_code == 0, found.output
    named = json.loads(out.read_text())["models"][0]
    pairs = [tuple(pair) for pair in pairs]
    wanted = rank(hub[0], (pairs, np.array(labels)), progress=False).models[0]
    assert named["score"] == pytest.approx(wanted.score)


def test_words_on_the_command_line(hub, tmp_path):
    path = tmp_path / "words.conll"
    sentences, tags = words_of(texts(60))
    blocks = [
        "\n".join(map(" ".join, zip(*both, strict=True)))
        for both in zip(sentences, tags, strict=True)
    ]
    path.write_text("\n\n".join(blocks))
    out = tmp_path / "out.json"
    given = ["rank", f"{hub[0]}?words=mean", "--data", str(path), "--json", str(out), "--quiet"]
    found = CliRunner().invoke(app, given)
    assert found.exit_code == 0, found.output
    wanted = rank(hub[0], (sentences, tags), progress=False).models[0]
    assert json.loads(out.read_text())["models"][0]["score"] == pytest.approx(wanted.score)
