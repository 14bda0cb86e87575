"""Intervals of samples that come in clusters: influences are summed within each."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.scores.bootstrap import bootstrap, resampled
from hubfast.scores.clustered import cluster_influences
from hubfast.scores.streamed import StreamedScores


def test_by_hand():
    influences = torch.tensor([3.0, 1.0, -2.0, 4.0, -1.0, 1.0], dtype=torch.float64)
    clusters = torch.tensor([7, 7, 3, 9, 9, 9])
    found = cluster_influences(influences, clusters, cut=False)
    wanted = torch.tensor([2.0, -3.0, 1.0], dtype=torch.float64) / 2**0.5
    torch.testing.assert_close(found, wanted)
    kept = influences[:3]
    cut = cluster_influences(influences, clusters, cut=True)
    wanted = torch.stack([(kept - kept.mean())[:2].sum(), (kept - kept.mean())[2]]) / 1.5**0.5
    torch.testing.assert_close(cut, wanted)
    alone = cluster_influences(influences[:2], clusters[:2], cut=True)
    torch.testing.assert_close(alone, torch.zeros(1, dtype=torch.float64))


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(-5, 5), min_size=2, max_size=40))
def test_clusters_of_one_sample_are_the_samples(values):
    influences = torch.tensor(values, dtype=torch.float64)
    found = cluster_influences(influences, torch.arange(len(values)), cut=False)
    torch.testing.assert_close(found, influences - influences.mean())


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 9), seed=st.integers(0, 9))
def test_copies_of_samples_say_no_more_than_the_samples(size, seed):
    """n samples, each of them `size` times, have the spread of n."""
    generator = torch.Generator().manual_seed(seed)
    one = torch.randn(50, generator=generator, dtype=torch.float64)
    many = one.repeat_interleave(size)
    clusters = torch.arange(50).repeat_interleave(size)
    found = cluster_influences(many, clusters, cut=False)
    alone = resampled([0.0], [one - one.mean()], 50, 0)
    torch.testing.assert_close(resampled([0.0], [found], 50 * size, 0), alone)


def words(sentences, length, width, seed):
    """Features and labels of words that are alike within a sentence."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 2, sentences).repeat(length)
    common = generator.normal(size=(sentences, width)).repeat(length, 0)
    own = generator.normal(size=(sentences * length, width))
    features = common + 0.3 * own
    features[:, 0] += 0.8 * label
    clusters = np.arange(sentences).repeat(length)
    return torch.tensor(features).float(), torch.tensor(label), torch.tensor(clusters)


def scored(features, labels, clusters=None, metric="logme"):
    scores = StreamedScores([metric], "classification", len(labels))
    for start in range(0, len(labels), 100):
        part = slice(start, start + 100)
        own = None if clusters is None else clusters[part]
        scores.update(labels[part], features[part], None, clusters=own)
    return scores.score(metric)


@pytest.mark.parametrize("metric", ["logme", "h_score"])
def test_an_interval_has_the_width_of_scores_of_other_sentences(metric):
    """The standard error by sentences is that of scores over draws; by words it is too small."""
    parts = [scored(*words(60, 10, 4, seed), metric) for seed in range(40)]
    real = np.std([part.score for part in parts], ddof=1)

    def width(part):
        low, high, _ = bootstrap([part.score], [part.influence], part.count, 0)
        return float(high[0] - low[0]) / 3.92

    by_sentence = np.mean([width(part) for part in parts])
    alone = [scored(f, t, None, metric) for f, t, _ in (words(60, 10, 4, s) for s in range(10))]
    by_word = np.mean([width(part) for part in alone])
    assert by_word < 0.55 * by_sentence
    assert 0.7 < by_sentence / real < 1.4


def test_the_influence_is_of_whole_clusters_of_the_samples_that_are_kept():
    features, labels, clusters = words(500, 7, 3, 0)
    found = scored(features, labels, clusters)
    assert found.count == 3500
    assert found.influence.shape == (2048 // 7,)
    few = scored(features[:35], labels[:35], clusters[:35])
    assert few.influence.shape == (5,)
    assert scored(features, labels).influence.shape == (512,)


def test_scores_do_not_depend_on_clusters():
    features, labels, clusters = words(100, 7, 3, 0)
    for metric in ("logme", "h_score", "knn", "linear_probe"):
        with_them = scored(features, labels, clusters, metric)
        assert with_them.score == scored(features, labels, None, metric).score
