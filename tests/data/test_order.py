"""One seeded order, in which every prefix has the classes in proportion."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hubfast.data.order import block_ends, seeded_order

sizes = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@given(sizes, st.integers(0, 5))
def test_every_prefix_has_its_share_of_every_class(counts, seed):
    targets = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    order = seeded_order(targets, "classification", seed)
    assert order.sort().values.tolist() == list(range(len(targets)))
    total = sum(counts)
    seen = np.cumsum(np.eye(len(counts))[targets[order].numpy()], axis=0)  # (n, C)
    share = np.arange(1, total + 1)[:, None] * np.array(counts) / total
    assert (np.abs(seen - share) < 2).all()


def test_the_seed_decides_and_nothing_else():
    targets = torch.arange(90) % 3
    first, again, other = (seeded_order(targets, "classification", s) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_class_of_one_sample_may_come_anywhere():
    targets = torch.tensor([0] * 99 + [1])
    places = [
        int((seeded_order(targets, "classification", seed) == 99).nonzero()) for seed in range(60)
    ]
    assert min(places) < 15
    assert max(places) > 85


def test_labels_of_several_are_spread_by_their_sets():
    labels = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=torch.float64).repeat(25, 1)
    order = seeded_order(labels, "multilabel", 0)
    for stop in (8, 20, 60):
        assert abs(float(labels[order[:stop]].mean()) - 0.5) <= 0.13


def test_numbers_are_shuffled():
    order = seeded_order(torch.arange(200.0)[:, None], "regression", 3)
    assert order.sort().values.tolist() == list(range(200))
    assert abs(float(order[:100].float().mean()) - 99.5) < 25


@pytest.mark.parametrize(
    ("count", "ends"),
    [
        (0, ()),
        (1, (1,)),
        (128, (128,)),
        (129, (128, 129)),
        (1024, (128, 256, 512, 1024)),
        (3000, (128, 256, 512, 1024, 2048, 3000)),
    ],
)
def test_blocks(count, ends):
    assert block_ends(count) == ends
