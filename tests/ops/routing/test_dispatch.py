"""Dispatch and combine: by hand, gradients, odd shapes, registration."""

import pytest
import torch
from torch.testing import assert_close

from hubfast import ops

SHAPES = [(1, 1, 1), (4, 3, 2), (5, 4, 4), (9, 2, 1)]  # B, M, k


def routed(batch, models, k, dtype=torch.float64):
    return ops.route(torch.randn(batch, models, dtype=dtype), k)


def test_by_hand():
    routes = ops.route(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 2)
    assert routes.order.tolist() == [1, 2, 0, 3]  # model 0: sample 0's second, sample 1's first
    batch = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    rows = ops.dispatch(batch, routes)
    assert rows.tolist() == [[1, 2], [3, 4], [1, 2], [3, 4]]
    assert ops.dispatch(batch, routes, 1, 3).tolist() == [[3, 4], [1, 2]]
    rows = torch.tensor([[1.0], [2.0], [10.0], [20.0]])
    gates = torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    out = ops.combine(rows, gates, routes.position)
    assert out.tolist() == [[0.75 * 10 + 0.25 * 1], [0.5 * 2 + 0.5 * 20]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_round_trip(shape):
    """Rows that come back as they went give the sample times the sum of its gates."""
    routes = routed(*shape)
    batch = torch.randn(shape[0], 6, dtype=torch.float64)
    out = ops.combine(ops.dispatch(batch, routes), routes.gates, routes.position)
    assert_close(out, batch * routes.gates.sum(1, keepdim=True))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients(shape):
    batch, models, k = shape
    routes = routed(*shape)
    images = torch.randn(batch, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    rows = torch.randn(batch * k, 3, dtype=torch.float64, requires_grad=True)
    gates = routes.gates.detach().requires_grad_()
    stop = int(routes.offsets[models - 1])
    for part in ((0, None), (0, stop), (stop, None)):
        torch.autograd.gradcheck(lambda x, p=part: ops.dispatch(x, routes, *p), images)
    torch.autograd.gradcheck(lambda r, g: ops.combine(r, g, routes.position), (rows, gates))


def test_images_become_channels_last_in_the_asked_dtype():
    routes = routed(4, 3, 2, torch.float32)
    rows = ops.dispatch(torch.rand(4, 3, 5, 7), routes, dtype=torch.bfloat16)
    assert rows.dtype == torch.bfloat16
    assert rows.is_contiguous(memory_format=torch.channels_last)


def test_no_rows():
    routes = routed(4, 3, 2)
    assert ops.dispatch(torch.rand(4, 3, 5, 5), routes, 3, 3).shape == (0, 3, 5, 5)
    empty = ops.route(torch.zeros(0, 3), 2)
    assert ops.combine(torch.zeros(0, 4), empty.gates, empty.position).shape == (0, 4)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's own
def test_registered():
    routes = routed(4, 3, 2)
    images = torch.rand(4, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    maps = (routes.order, routes.position)
    arguments = (images, *maps, 1, 6, torch.float32, "torch")
    torch.library.opcheck(torch.ops.hubfast.dispatch, arguments)
    rows = torch.rand(8, 5, dtype=torch.float64, requires_grad=True)
    gates = routes.gates.clone().requires_grad_()
    torch.library.opcheck(torch.ops.hubfast.combine, (rows, gates, routes.position, "torch"))


def test_refuses():
    routes = routed(4, 3, 2)
    with pytest.raises(ValueError, match="batch must hold 4 samples as routed, got 3"):
        ops.dispatch(torch.rand(3, 2), routes)
    with pytest.raises(ValueError, match=r"rows must be within 0..8, got 2..9"):
        ops.dispatch(torch.rand(4, 2), routes, 2, 9)
    with pytest.raises(ValueError, match=r"rows must be \(8, width\), got \(7, 2\)"):
        ops.combine(torch.rand(7, 2), routes.gates, routes.position)
    with pytest.raises(ValueError, match="gates and position must both be"):
        ops.combine(torch.rand(8, 2), routes.gates[:, :1], routes.position)
