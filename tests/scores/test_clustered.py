"""Samples that come in clusters: influences are of whole ones, and so is what is left out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.scores.bootstrap import bootstrap, resampled
from hubfast.scores.clustered import by_appearance, cluster_influences, one_of_each
from hubfast.scores.knn import fit_knn
from hubfast.scores.left_out import groups_of
from hubfast.scores.linear_probe import fit_linear_probe
from hubfast.scores.n_leep import fit_n_leep
from hubfast.scores.registry import SCORES
from hubfast.scores.streamed import StreamedScores

LEAVING_OUT = [name for name, score in SCORES.items() if score.leaves_out]


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


def test_scores_of_all_samples_do_not_depend_on_clusters():
    features, labels, clusters = words(100, 7, 3, 0)
    for metric in ("logme", "h_score", "gbc", "n_leep", "pactran"):
        with_them = scored(features, labels, clusters, metric)
        assert with_them.score == scored(features, labels, None, metric).score


def test_scores_that_leave_samples_out_are_told_apart():
    assert sorted(LEAVING_OUT) == [*("gbc", "knn", "linear_probe", "n_leep", "pactran", "sfda")]


def told_by_sentence(seed):
    """Words that tell their sentence and nothing else, and its label, drawn by a coin."""
    generator = np.random.default_rng(seed)
    owners = np.arange(60).repeat(8)
    features = generator.normal(size=(60, 99))[owners] + 0.01 * generator.normal(size=(480, 99))
    labels = generator.permutation(np.arange(60) % 2)[owners]
    return torch.tensor(features).float(), torch.tensor(labels), torch.tensor(owners)


def foreseen(features, labels, clusters):
    scores = StreamedScores(["logme"], "classification", len(labels))
    scores.update(labels, features, None, clusters=clusters)
    return scores.expected()


@pytest.mark.parametrize("metric", ["knn", "linear_probe"])
def test_words_of_a_sentence_do_not_tell_each_other(metric):
    """Held out by words, all are right; by sentences half of them, as a coin has it."""
    parts = [told_by_sentence(seed) for seed in range(4)]
    assert all(scored(f, t, None, metric).score > 0.97 for f, t, _ in parts)
    assert 0.35 < np.mean([scored(*part, metric).score for part in parts]) < 0.65
    assert all(foreseen(f, t, None).value > 0.97 for f, t, _ in parts)
    expected = [foreseen(*part) for part in parts]
    assert 0.35 < np.mean([one.value for one in expected]) < 0.65
    assert all(one.clusters == 60 for one in expected)
    assert all(one.high - one.low > 0.2 for one in expected)  # 480 words by themselves: 0.09


def test_neighbours_are_of_other_clusters_one_by_one():
    features, labels, clusters = words(12, 5, 4, 3)
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    right = 0
    for place in range(60):
        others = (clusters != clusters[place]).nonzero().flatten()
        nearest = others[(unit[others] @ unit[place]).argsort(descending=True)[:5]]
        right += int(labels[nearest].double().mean().round() == labels[place])
    assert fit_knn(features, labels, clusters=clusters).score == pytest.approx(right / 60)


def test_clusters_of_one_sample_change_no_neighbour():
    features, labels, _ = words(12, 5, 4, 3)
    alone = fit_knn(features, labels)
    assert fit_knn(features, labels, clusters=torch.arange(60)).score == alone.score


@pytest.mark.parametrize("metric", LEAVING_OUT)
def test_the_order_of_sentences_changes_no_score(metric):
    features, labels, clusters = words(30, 6, 4, 5)
    turned = torch.arange(180).reshape(30, 6).flip(0).flatten()
    score = SCORES[metric]
    one = score.fit_samples(features, labels, "classification", clusters)
    other = score.fit_samples(
        features[turned], labels[turned], "classification", by_appearance(clusters[turned])
    )
    assert one.score == other.score


@pytest.mark.parametrize("metric", LEAVING_OUT)
@pytest.mark.parametrize("lengths", [[1, 1, 58], [20, 40], [57, 1, 1, 1], [2] * 30])
def test_sentences_of_any_length(metric, lengths):
    """Two sentences, or one that holds nearly all: a score or a reason, and perhaps no interval."""
    generator = np.random.default_rng(0)
    clusters = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    labels = torch.tensor(generator.integers(0, 3, 60))
    features = torch.tensor(generator.normal(size=(60, 5)))
    found = SCORES[metric].fit_samples(features, labels, "classification", clusters)
    assert np.isfinite(found.score)
    assert found.influence().shape == (60,)
    for cluster in range(len(lengths)) if metric in ("n_leep", "pactran") else ():
        assert len({*found.influence()[clusters == cluster].nan_to_num().tolist()}) == 1


def test_one_sentence_is_too_few():
    features, labels, _ = words(12, 5, 4, 3)
    together = torch.zeros(60, dtype=torch.int64)
    for fit, name in ((fit_knn, "k-NN"), (fit_linear_probe, "linear probe")):
        with pytest.raises(ValueError, match=f"{name} needs samples of at least 2 clusters, got 1"):
            fit(features, labels, clusters=together)
    assert fit_n_leep(features, labels, clusters=together).influence().isnan().all()


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_groups_hold_whole_clusters_and_are_even(lengths):
    clusters = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)) * 3 + 5
    groups = groups_of(len(clusters), clusters=clusters)
    assert torch.equal(groups, groups_of(len(clusters), clusters=clusters - 5))
    sizes = groups.bincount().tolist()
    assert len(sizes) == (min(10, len(lengths)) if len(lengths) > 2 else 1)
    assert max(sizes) - min(sizes) <= max(lengths) or len(sizes) == 1
    for cluster in clusters.unique():
        assert len(groups[clusters == cluster].unique()) == 1


def test_one_influence_of_each_cluster():
    influences = torch.tensor([1.0, 1, 5, 5, 5, 2])
    clusters = torch.tensor([7, 7, 3, 3, 3, 9])
    assert one_of_each(influences, clusters, cut=False).tolist() == [1, 5, 2]
    assert one_of_each(influences, clusters, cut=True).tolist() == [1, 5]
    assert one_of_each(influences[:2], clusters[:2], cut=True).tolist() == [1]


@pytest.mark.parametrize("metric", ["knn", "n_leep"])
def test_an_interval_of_what_is_left_out_has_the_width_of_other_sentences(metric):
    parts = [scored(*words(60, 10, 4, seed), metric) for seed in range(40)]
    real = np.std([part.score for part in parts], ddof=1)
    widths = []
    for part in parts:
        low, high, _ = bootstrap([part.score], [part.influence], part.count, 0)
        widths.append(float(high[0] - low[0]) / 3.92)
    assert 0.8 < np.mean(widths) / real < 2.2
