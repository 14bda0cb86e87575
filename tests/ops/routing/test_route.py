"""Routing: by hand, against autograd and numerical gradients, ties, odd shapes, registration."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from hubfast import ops
from hubfast.ops import reference

SHAPES = [(1, 1, 1), (1, 5, 2), (7, 3, 3), (5, 4, 1), (33, 7, 2), (64, 8, 5)]  # B, M, k


def given_logits(batch, models, dtype=torch.float64, grad=True):
    logits, spread = (torch.randn(batch, models, dtype=dtype) for _ in range(2))
    noise = torch.randn(batch, models, dtype=dtype)
    return logits.requires_grad_(grad), spread.requires_grad_(grad), noise


def test_route_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0), -5.0], [2.0, -5.0, 2.0]], dtype=torch.float64)
    found = ops.route(logits, 2)
    assert found.chosen.tolist() == [[1, 0], [0, 2]]
    assert_close(found.gates, torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64))
    assert found.counts.tolist() == [2, 1, 1]
    assert found.offsets.tolist() == [0, 2, 3, 4]
    assert found.order.tolist() == [1, 2, 0, 3]  # pairs (0, 1), (1, 0) to model 0; ...
    assert found.position.tolist() == [[2, 0], [1, 3]]
    p = logits.softmax(1)
    mean = p.mean(0)
    assert_close(found.entropy[0], -(p * p.log()).sum(1).mean())
    assert_close(found.entropy[1], -(mean * mean.log()).sum())


def test_noise_by_hand():
    zero = torch.zeros(1, 2, dtype=torch.float64)
    noise = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    found = ops.route(zero, 2, spread=zero, noise=noise)  # softplus(0) = log 2
    assert_close(found.gates, torch.tensor([[2 / 3, 1 / 3]], dtype=torch.float64))
    assert found.chosen.tolist() == [[1, 0]]


def test_ties_go_to_the_first_model():
    found = ops.route(torch.zeros(3, 6), 4)
    assert found.chosen.tolist() == [[0, 1, 2, 3]] * 3


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients(shape):
    batch, models, k = shape
    logits, spread, noise = given_logits(batch, models)

    def values(a, b):
        return ops.route(a, k, spread=b, noise=noise)[:3]

    torch.autograd.gradcheck(values, (logits, spread), fast_mode=batch > 10)
    mine = torch.autograd.grad([x.square().sum() for x in values(logits, spread)], (logits, spread))
    plain = reference.route(logits, k, spread, noise)[:3]
    expected = torch.autograd.grad([x.square().sum() for x in plain], (logits, spread))
    assert_close(mine, expected)


def test_one_model_of_many_gets_a_gradient():
    logits, _, _ = given_logits(4, 3)
    ops.route(logits, 1).gates.sum().backward()
    assert (logits.grad.abs() > 0).all()


def test_models_ruled_out():
    logits = torch.tensor([[0.0, -math.inf, 1.0]], requires_grad=True)
    found = ops.route(logits, 2)
    assert found.chosen.tolist() == [[2, 0]]
    (found.gates.square().sum() + found.entropy[0]).backward()
    assert torch.isfinite(found.entropy[0])
    assert torch.isfinite(logits.grad).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 30), st.integers(1, 9), st.data())
def test_maps_are_inverse_and_stable(batch, models, data):
    k = data.draw(st.integers(1, models))
    values = st.lists(st.integers(-2, 2), min_size=batch * models, max_size=batch * models)
    logits = torch.tensor(data.draw(values), dtype=torch.float32).view(batch, models)  # many ties
    found = ops.route(logits, k)
    flat = found.chosen.flatten()
    assert torch.equal(found.order[found.position.flatten()], torch.arange(batch * k))
    assert torch.equal(found.counts, torch.bincount(flat, minlength=models))
    assert torch.equal(flat[found.order], flat.sort(stable=True).values)
    for m in range(models):
        rows = found.order[found.offsets[m] : found.offsets[m + 1]]
        assert torch.equal(rows, rows.sort().values)
    assert_close(found.probabilities.sum(1), torch.ones(batch))
    chosen = logits.gather(1, found.chosen)
    assert torch.equal(chosen, logits.sort(1, descending=True).values[:, :k])
    assert all(len(set(row)) == k for row in found.chosen.tolist())


def test_computes_half_precision_in_float32():
    logits = torch.randn(6, 5).half()
    found = ops.route(logits, 2)
    assert found.gates.dtype == torch.float32
    assert_close(found.gates, ops.route(logits.float(), 2).gates)
    logits.requires_grad_()
    ops.route(logits, 2).gates[:, 0].sum().backward()
    assert logits.grad.dtype == torch.float16


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's own
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("noisy", [False, True])
def test_route_is_registered(k, noisy):
    logits, spread, noise = given_logits(5, 4)
    given = (logits, spread, noise) if noisy else (logits, None, None)
    torch.library.opcheck(torch.ops.hubfast.route, (*given, k, "torch"))


def test_route_compiles():
    def step(logits):
        found = ops.route(logits, 2)
        return (found.gates * found.chosen).sum() + found.entropy[1]

    logits = torch.randn(6, 5, requires_grad=True)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(step(logits), logits)
    assert_close(torch.autograd.grad(compiled(logits), logits), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.randn(4), 1), ValueError, r"logits must be \(batch, models\), got \(4,\)"),
        ((torch.ones(4, 3, dtype=torch.int64), 1), TypeError, "float dtype, got torch.int64"),
        ((torch.randn(4, 3), 4), ValueError, r"k must be in 1..3, the number of models, got 4"),
        ((torch.randn(4, 3), 0), ValueError, r"k must be in 1..3"),
    ],
)
def test_route_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        ops.route(*arguments)


def test_route_refuses_noise_that_does_not_fit():
    logits = torch.randn(4, 3)
    with pytest.raises(ValueError, match="spread and noise must be given together"):
        ops.route(logits, 2, noise=logits)
    with pytest.raises(ValueError, match=r"noise must be \(4, 3\), got \(4, 2\)"):
        ops.route(logits, 2, spread=logits, noise=logits[:, :2])
    with pytest.raises(ValueError, match="backend must be one of"):
        ops.route(logits, 2, backend="triton")
