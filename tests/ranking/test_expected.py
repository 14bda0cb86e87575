"""The accuracy to expect of a linear head stands beside every score of features."""

import json

import numpy as np
import pytest
import torch

import hubfast
from hubfast.ranking.result import Ranking
from hubfast.report.foreseen import foreseen
from hubfast.report.ranking import write_ranking
from hubfast.scores import LogME
from hubfast.scores.logme.expected import expected
from hubfast.scores.streamed import StreamedScores

SAMPLES = 700


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Files of features, some wider than there are samples in the first block, and targets."""
    made, folder = np.random.default_rng(0), tmp_path_factory.mktemp("features")
    targets = made.integers(0, 4, SAMPLES)
    for name, width, strength in (("good", 40, 0.4), ("wide", 800, 0.06), ("poor", 20, 0.1)):
        signal = strength * made.normal(size=(4, width))[targets]
        np.save(folder / f"{name}.npy", (made.normal(size=(SAMPLES, width)) + signal).astype("f4"))
    return [str(folder / f"{name}.npy") for name in ("good", "wide", "poor")], targets


def ranked(hub, targets, **options):
    data = (torch.zeros(len(targets), 1), torch.as_tensor(targets))
    return hubfast.rank(hub, data, progress=False, cache=False, **options)


def values(ranking):
    return {m.name: m.expected.value for m in ranking}


@pytest.mark.parametrize(
    "options",
    [{"metric": "logme"}, {"metric": "regularized_h_score"}, {"metrics": ["logme", "h_score"]}],
    ids=str,
)
def test_it_is_that_of_the_evidence_of_all_samples(hub, options):
    paths, targets = hub
    found = ranked(paths, targets, **options)
    order = found.models  # each was fitted to all samples and predicts the first 512 of the order
    for m, path in zip(sorted(order, key=lambda m: m.name), sorted(paths), strict=True):
        features = torch.from_numpy(np.load(path))
        every = expected(LogME.fit(features, targets), features, targets)
        assert m.expected.samples == 512
        assert m.expected.value == pytest.approx(every.value, abs=0.03)
        assert m.expected.low < every.value < m.expected.high
        assert m.expected.majority == pytest.approx(np.bincount(targets).max() / SAMPLES)


def test_scores_of_samples_have_it_too(hub):
    paths, targets = hub
    assert values(ranked(paths, targets, metric="knn")) == pytest.approx(
        values(ranked(paths, targets)), abs=1e-12
    )


def test_a_race_has_it(hub):
    found = ranked(*hub, race=True, top=1)
    assert all(0 < m.expected.value < 1 for m in found)


def test_a_score_that_looks_at_no_features_has_none(hub):
    found = ranked(*hub, metric="parameters")
    assert all(m.expected is None for m in found)
    assert "expected" not in str(found)


def test_streamed_samples_give_what_a_fit_gives():
    made = torch.Generator().manual_seed(0)
    features, targets = torch.randn(90, 7, generator=made), torch.arange(90) % 3
    features[:, :3] += torch.eye(3)[targets]
    for metric in ("logme", "h_score", "knn"):
        scores = StreamedScores([metric], "classification", 90)
        assert scores.expected() is None
        for part in (slice(0, 40), slice(40, 90)):
            scores.update(targets[part], features[part], None)
            scores.score(metric)
            seen = (features[: part.stop], targets[: part.stop])
            assert scores.expected() == expected(LogME.fit(*seen), *seen)


def test_table_frame_and_files(hub, tmp_path):
    found = ranked(*hub)
    best = found[0]
    shown = str(found)
    assert f"{best.expected.value:.3f}" in shown
    assert "expected: accuracy of a linear head, sample left out; most frequent class 0.2" in shown
    row = found.to_frame().iloc[0]
    names = ["expected_accuracy", "expected_accuracy_low", "expected_accuracy_high"]
    assert row[names].tolist() == [best.expected.value, best.expected.low, best.expected.high]
    found.to_json(tmp_path / "r.json")
    assert Ranking.from_json(tmp_path / "r.json") == found
    content = json.loads((tmp_path / "r.json").read_text())
    for row in content["models"]:
        del row["expected"]  # as files had it before
    (tmp_path / "old.json").write_text(json.dumps(content))
    assert Ranking.from_json(tmp_path / "old.json")[0].expected is None


def test_the_page_says_what_to_expect(hub, tmp_path):
    found = ranked(*hub)
    write_ranking(tmp_path / "page.html", found)
    page = (tmp_path / "page.html").read_text()
    assert "Expected accuracy" in page
    assert foreseen(found[0], found.task) in page
    assert f"expect about {100 * found[0].expected.value:.1f}" in page


def test_regression_says_r2(hub):
    paths, targets = hub
    found = ranked(paths, targets + 0.1 * np.random.default_rng(1).normal(size=SAMPLES))
    assert "expected: r2 of a linear head" in str(found)
    assert "expected_r2" in found.to_frame()
    assert "R²" in foreseen(found[0], found.task)
