from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from hubfast.ops import class_sums
from hubfast.scores import FeatureStatistics, HScore, LogME

TASKS = ["classification", "multilabel", "regression"]


def problem(count, width, task="classification", seed=0):
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(count, width, generator=g, dtype=torch.float64) + 0.5
    match task:
        case "classification":
            targets = torch.arange(count) % 3
        case "multilabel":
            targets = torch.randint(0, 2, (count, 4), generator=g)
        case _:
            targets = torch.randn(count, 2, generator=g, dtype=torch.float64)
    return features, targets


def assert_same(a, b):
    assert a.count == b.count
    for name in ("feature_sum", "cross", "target_sum", "target_square_sum", "cubic", "quartic"):
        assert_close(getattr(a, name), getattr(b, name), rtol=1e-12, atol=1e-12)
    assert_close(a.copy().gram.triu(), b.copy().gram.triu(), rtol=1e-12, atol=1e-12)
    assert LogME.from_statistics(a).score == pytest.approx(
        LogME.from_statistics(b).score, rel=1e-10
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("shape", [(5, 8), (8, 8), (9, 8), (50, 8), (30, 1)], ids=str)
def test_sums_by_definition(shape, task):
    features, targets = problem(*shape, task)
    stats = FeatureStatistics().update(features, targets)
    columns = torch.nn.functional.one_hot(targets, 3) if task == "classification" else targets
    columns = columns.double()
    squares = features.square().sum(1)
    assert stats.task == task
    assert_close(stats.cross, columns.T @ features)
    assert_close(stats.target_square_sum, columns.square().sum(0))
    assert_close(stats.cubic, squares @ features)
    assert_close(stats.quartic, squares @ squares)
    assert (stats.rows is not None) == (shape[0] <= shape[1])
    assert_close(stats.gram.triu(), (features.T @ features).triu())


@given(
    cuts=st.lists(st.integers(0, 40), max_size=4),
    width=st.integers(1, 50),
    task=st.sampled_from(TASKS),
    order=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_batches_and_merges_equal_one_pass(cuts, width, task, order):
    features, targets = problem(40, width, task)
    edges = [0, *sorted(cuts), 40]
    parts = [slice(a, b) for a, b in pairwise(edges) if a < b]
    batched = FeatureStatistics(task)
    merged = FeatureStatistics(task)
    for part in reversed(parts) if order else parts:
        batched.update(features[part], targets[part])
        merged = merged + FeatureStatistics(task).update(features[part], targets[part])
    whole = FeatureStatistics(task).update(features, targets)
    assert_same(batched, whole)
    assert_same(merged, whole)


def test_integers_merge_exactly():
    g = torch.Generator().manual_seed(0)
    features = torch.randint(-9, 9, (70, 12), generator=g).double()
    targets = torch.randint(0, 3, (70,), generator=g)
    a = FeatureStatistics().update(features[:30], targets[:30])
    b = FeatureStatistics().update(features[30:], targets[30:])
    whole = FeatureStatistics().update(features, targets)
    assert torch.equal((a + b).gram.triu(), whole.gram.triu())
    assert torch.equal((a + b).cross, whole.cross)
    assert LogME.from_statistics(a + b).score == LogME.from_statistics(b + a).score


def test_classes_may_appear_late_and_merge_by_id():
    features, _ = problem(60, 5)
    targets = torch.tensor([7, 2, 2, 5, -1, 7]).repeat_interleave(10)
    stats = FeatureStatistics()
    for start in range(0, 60, 10):
        stats.update(features[start : start + 10], targets[start : start + 10])
    assert stats.classes.tolist() == [-1, 2, 5, 7]
    assert_same(stats, FeatureStatistics().update(features, targets))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("width", [8, 90])
def test_relabelling_is_exact(width, task):
    features, targets = problem(60, width, task)
    wrong = targets.clone()
    wrong[10:20] = 1 if task != "regression" else 9.5
    stats = FeatureStatistics(task).update(features, wrong)
    stats.relabel(features[10:20], wrong[10:20], targets[10:20])
    fresh = FeatureStatistics(task).update(features, targets)
    assert_close(stats.cross, fresh.cross)
    a, b = LogME.from_statistics(stats), LogME.from_statistics(fresh)
    assert a.score == pytest.approx(b.score, rel=1e-8)


def test_relabelling_a_class_away():
    features, targets = problem(30, 4)
    stats = FeatureStatistics().update(features, targets)
    moved = targets == 2
    stats.relabel(features[moved], targets[moved], torch.full((10,), 9))
    fresh = FeatureStatistics().update(features, torch.where(moved, 9, targets))
    assert LogME.from_statistics(stats).score == pytest.approx(
        LogME.from_statistics(fresh).score, rel=1e-10
    )
    assert HScore.from_statistics(stats).score == pytest.approx(
        HScore.from_statistics(fresh).score, rel=1e-10
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("shape", [(5, 8), (50, 8)], ids=str)
def test_saved_and_loaded(tmp_path, shape, task):
    features, targets = problem(*shape, task)
    stats = FeatureStatistics().update(features, targets)
    score = LogME.from_statistics(stats).score
    stats.save(tmp_path / "s.safetensors")
    loaded = FeatureStatistics.load(tmp_path / "s.safetensors")
    assert repr(loaded) == repr(stats)
    assert LogME.from_statistics(loaded).score == score
    more = features**2  # of full rank with the first
    assert_same(loaded.update(more, targets), stats.update(more, targets))


def test_other_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"does not hold hubfast\.FeatureStatistics"):
        FeatureStatistics.load(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"nothing to save"):
        FeatureStatistics().save(tmp_path / "y.safetensors")


def test_the_callers_buffer_may_be_reused():
    features, targets = problem(6, 10)
    score = LogME.fit(features, targets).score
    stats = FeatureStatistics()
    buffer = torch.empty(2, 10, dtype=torch.float64)
    for start in range(0, 6, 2):
        buffer.copy_(features[start : start + 2])
        stats.update(buffer, targets[start : start + 2])
        buffer.zero_()
    assert LogME.from_statistics(stats).score == score


def test_scoring_leaves_the_sums_alone():
    features, targets = problem(20, 40)
    stats = FeatureStatistics().update(features[:10], targets[:10])
    LogME.from_statistics(stats)
    HScore.from_statistics(stats, regularized=True)
    stats.update(features[10:], targets[10:])
    assert_same(stats, FeatureStatistics().update(features, targets))


def test_a_bad_batch_adds_nothing():
    features, targets = problem(20, 5)
    stats = FeatureStatistics().update(features, targets)
    spoiled = features.clone()
    spoiled[3, 2] = float("nan")
    with pytest.raises(ValueError, match=r"features must be finite, got 1 .* at \(3, 2\)"):
        stats.update(spoiled, targets)
    with pytest.raises(ValueError, match=r"features must have width 5, got 4"):
        stats.update(features[:, :4], targets)
    assert_same(stats, FeatureStatistics().update(features, targets))


def test_mismatched_statistics_do_not_add():
    a = FeatureStatistics().update(*problem(9, 4))
    with pytest.raises(ValueError, match=r"cannot add statistics of width 3"):
        a + FeatureStatistics().update(*problem(9, 3))
    with pytest.raises(ValueError, match=r"for regression to width 4 for classification"):
        a + FeatureStatistics().update(*problem(9, 4, "regression"))
    with pytest.raises(TypeError):
        a + 1
    two = FeatureStatistics().update(*problem(9, 4, "regression"))
    with pytest.raises(ValueError, match=r"targets must have 2 columns, got 3"):
        two.update(torch.zeros(2, 4), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"old must hold counted classes, got \[8\]"):
        a.relabel(torch.zeros(1, 4), [8], [0])


def test_state_does_not_grow_with_samples():
    """What is held after 40 batches is what is held after 4."""

    def held(stats):
        values = [*vars(stats).values(), *stats._rows]
        return sum(x.nbytes for x in values if isinstance(x, torch.Tensor))

    features, targets = problem(64, 32)
    stats = FeatureStatistics()
    sizes = [held(stats.update(features, targets)) for _ in range(40)]
    assert sizes[-1] == sizes[3]


def test_class_sums(device):
    rows = torch.randn(9, 4, dtype=torch.float64)
    index = torch.tensor([0, 3, 3, 1, 0, 0, 1, 3, 3])
    found = class_sums(rows.to(device), index.to(device), 5).cpu()
    for c in range(5):
        assert_close(found[c], rows[index == c].sum(0))
