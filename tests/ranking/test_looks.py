"""When a race looks: boundaries of blocks, and what cannot be raced."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfast.ranking.looks import check_race, look_sizes, nothing_to_race, samples_scored
from hubfast.scores.registry import SCORES


@pytest.mark.parametrize(
    ("n_samples", "n_classes", "sizes"),
    [
        (4096, 10, (128, 256, 512, 1024, 2048, 4096)),
        (4097, 16, (128, 256, 512, 1024, 2048, 4096, 4097)),
        (3000, 17, (256, 512, 1024, 2048, 3000)),
        (5000, 65, (1024, 2048, 4096, 5000)),
        (5000, 129, (2048, 4096, 5000)),
        (20_000, 300, (3072, 6144, 12_288, 20_000)),
        (129, 2, (128, 129)),
        (128, 2, (128,)),
        (100, 2, (100,)),
        (1, 1, (1,)),
        (3000, 1000, (3000,)),
    ],
)
def test_looks_by_hand(n_samples, n_classes, sizes):
    assert look_sizes(n_samples, n_classes) == sizes


@given(st.integers(1, 100_000), st.integers(1, 2000))
def test_every_look_is_where_blocks_are_cut(n_samples, n_classes):
    *before, last = look_sizes(n_samples, n_classes)
    assert last == n_samples
    assert all(n in (128, 256, 512) or n % 1024 == 0 for n in before)
    assert all(later == 2 * n for n, later in pairwise(before))
    if before:
        assert before[0] >= max(128, 8 * n_classes)
        assert before[-1] < n_samples <= 2 * before[-1]
    else:
        assert n_samples <= max(128, 16 * n_classes, 8 * n_classes + 1023)


@pytest.mark.parametrize(("name", "value"), [("n_samples", 0), ("n_classes", -1)])
def test_counts_must_be_positive(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {value}"):
        look_sizes(**{"n_samples": 10, "n_classes": 2, name: value})


def test_scores_of_kept_samples_are_final_sooner():
    assert samples_scored("knn", 50_000, 2048) == 2048
    assert samples_scored("knn", 500, 2048) == 500
    assert samples_scored("logme", 50_000, 2048) == 50_000
    assert samples_scored("leep", 50_000, 2048) == 50_000


@pytest.mark.parametrize("metric", SCORES)
def test_one_score_that_looks_at_samples_is_raced(metric):
    if metric in ("parameters", "imagenet"):
        with pytest.raises(ValueError, match=f"nothing to race by {metric!r}"):
            check_race([metric])
    else:
        check_race([metric])


def test_a_consensus_is_not_raced():
    with pytest.raises(ValueError, match=r"one metric, got \['logme', 'knn'\]: their consensus"):
        check_race(["logme", "knn"])


@pytest.mark.parametrize(
    ("n_models", "top", "looks", "why"),
    [
        (1, 1, (128, 256, 512), "the hub has one model"),
        (3, 3, (128, 256, 512), "top is 3, and the hub has 3 models"),
        (9, 3, (128, 200), "200 samples are too few"),
        (9, 3, (100,), "100 samples are too few"),
        (4, 3, (128, 256, 257), ""),
    ],
)
def test_where_there_is_nothing_to_race(n_models, top, looks, why):
    found = nothing_to_race(n_models, top, looks)
    assert why in found
    assert bool(found) == bool(why)


def test_how_scores_grow():
    """Decided on growing parts of the same data, as docs/racing.md tells."""
    known = {
        "h_score": "inverse",
        "zero_shot": "none",  # nothing is fitted to the samples
        "zero_shot_confidence": "none",
        **dict.fromkeys(("sfda", "pactran", "nce", "n_leep"), "late"),
    }
    assert {name: score.growth for name, score in SCORES.items()} == {
        name: known.get(name, "slow") for name in SCORES
    }
