"""Texts as training batches: of like length, the same in every run, whatever is resumed."""

import numpy as np
import pytest
import tiny_texts
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.data import as_target_data
from hubfast.tuning import TargetEncoder
from hubfast.tuning.samples import BatchOrder
from hubfast.tuning.texts import TextBatch, TextDataset


def test_a_batch_of_texts_is_cut_and_moved_like_a_tensor():
    batch = TextBatch(["a", "b", "c"])
    assert len(batch) == 3
    assert list(batch[:2]) == ["a", "b"]
    assert batch.to("cpu", non_blocking=True) is batch


def test_texts_with_their_targets_and_positions():
    data = tiny_texts.data(6)
    texts = TextDataset(data, TargetEncoder.of(data))
    batch, targets, rows = texts.collate([texts[0, k] for k in (4, 1)])
    assert list(batch) == [data[4], data[1]] == list(texts.batch([4, 1]))
    assert rows.tolist() == [4, 1]
    assert targets.tolist() == [0, 1]
    assert texts.lengths == [len(data[k]) for k in range(6)]


def test_what_is_no_text_is_named():
    mixed = as_target_data((["good", "bad"], [0, 1]))
    object.__setattr__(mixed, "samples", ["good", np.zeros((4, 4, 3), np.uint8)])
    with pytest.raises(TypeError, match="data must give texts only, sample 1 is Image"):
        TextDataset(mixed, TargetEncoder.of(mixed))


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 80),
    batch_size=st.integers(1, 20),
    world=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_an_epoch_holds_every_text_once_and_sizes_are_as_told(count, batch_size, world, seed):
    lengths = (torch.arange(count) * 7919 % 97).tolist()
    if count // max(1, count // batch_size) < world:
        return
    orders = [
        BatchOrder(count, batch_size, 2, seed, rank=rank, world=world, lengths=lengths)
        for rank in range(world)
    ]
    steps = list(zip(*orders, strict=True))
    for epoch in range(2):
        own = steps[epoch * orders[0].per_epoch : (epoch + 1) * orders[0].per_epoch]
        held = [position for step in own for part in step for _, position in part]
        assert sorted(held) == list(range(count))
    for k, parts in enumerate(steps):
        assert sum(map(len, parts)) == orders[0].size(k) == len(orders[0].whole(k))
    resumed = BatchOrder(count, batch_size, 2, seed, first=len(steps) // 2, lengths=lengths)
    unbroken = list(BatchOrder(count, batch_size, 2, seed, lengths=lengths))
    assert list(resumed) == unbroken[len(steps) // 2 :]


def test_texts_of_like_length_come_together_in_an_order_that_changes():
    lengths = np.random.default_rng(0).integers(1, 500, 320).tolist()
    order = BatchOrder(320, 10, 2, 0, lengths=lengths)

    def filled(batches):
        """Tokens that batches take, as a share of those that are padded to."""
        rows = [[lengths[p] for _, p in batch] for batch in batches]
        return sum(map(sum, rows)) / sum(len(row) * max(row) for row in rows)

    batches = list(order)
    assert filled(batches) > 0.9 > 0.7 > filled(list(BatchOrder(320, 10, 2, 0)))
    means = [np.mean([lengths[p] for _, p in batch]) for batch in batches[:16]]
    assert abs(np.corrcoef(means, range(16))[0, 1]) < 0.6  # short and long ones in turn
    first, second = batches[:32], batches[32:]
    assert {frozenset(p for _, p in b) for b in first} != {
        frozenset(p for _, p in b) for b in second
    }
