"""Dispatch and combine: by hand, gradients, odd shapes, registration."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

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
    with pytest.raises(
        ValueError, match=r"batch must hold 4 samples as routed, got shape \(3, 2\)"
    ):
        ops.dispatch(torch.rand(3, 2), routes)
    with pytest.raises(ValueError, match=r"rows must be within 0..8, got 2..9"):
        ops.dispatch(torch.rand(4, 2), routes, 2, 9)
    with pytest.raises(ValueError, match=r"rows must be \(8, width\), got \(7, 2\)"):
        ops.combine(torch.rand(7, 2), routes.gates, routes.position)
    with pytest.raises(ValueError, match="gates and position must both be"):
        ops.combine(torch.rand(8, 2), routes.gates[:, :1], routes.position)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"order": torch.arange(7)}, ValueError, r"routes.order must have shape \(8\), got \(7,\)"),
        ({"order": torch.arange(8.0)}, TypeError, "routes.order must be int64, got torch.float32"),
        ({"position": torch.zeros(4, 2)}, TypeError, "routes.position must be int64"),
        ({"position": torch.arange(4)}, ValueError, r"routes.position must have shape \(4, any\)"),
    ],
)
def test_dispatch_refuses_routes_that_do_not_fit(changed, error, message):
    routes = routed(4, 3, 2)._replace(**changed)
    if changed.get("position", torch.zeros(0)).ndim == 1 and "position" in changed:
        routes = routes._replace(order=routes.order[:4])
    with pytest.raises(error, match=message):
        ops.dispatch(torch.rand(4, 2), routes)


def test_refuses_what_is_not_of_floats():
    routes = routed(4, 3, 2)
    with pytest.raises(TypeError, match=r"batch must be of a float dtype, got torch.int64"):
        ops.dispatch(torch.ones(4, 2, dtype=torch.int64), routes)
    with pytest.raises(TypeError, match=r"dtype must be of a float dtype, got torch.uint8"):
        ops.dispatch(torch.ones(4, 2), routes, dtype=torch.uint8)
    with pytest.raises(TypeError, match=r"rows must be of a float dtype"):
        ops.combine(torch.ones(8, 2, dtype=torch.int64), routes.gates, routes.position)
    with pytest.raises(TypeError, match=r"position must be int64, got torch.int32"):
        ops.combine(torch.rand(8, 2), routes.gates, routes.position.int())


class Log(TorchDispatchMode):
    """Names of the ops that ran."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.name().partition(".")[0])
        return function(*args, **(kwargs or {}))


class Unlaunched:
    """Stands for a kernel that is launched and does nothing."""

    def __getitem__(self, grid):
        return lambda *args, **options: None


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_kernels_write_where_the_result_lies(layout, monkeypatch):
    pytest.importorskip("triton", reason="triton is not installed")
    from hubfast.kernels import dispatch as kernels

    monkeypatch.setattr(kernels, "_dispatch_fwd", Unlaunched())
    monkeypatch.setattr(kernels, "_dispatch_bwd", Unlaunched())
    routes = routed(4, 3, 2)
    images = torch.rand(4, 3, 5, 6).contiguous(memory_format=layout)
    rows = torch.rand(8, 3, 5, 6).contiguous(memory_format=torch.channels_last)
    with Log() as log:
        found = kernels.dispatch(images, routes.order, 2, 0, 8, torch.float16)
        back = kernels.dispatch_backward(rows, routes.position, 0, torch.float32)
    assert log.names.count("aten::empty") == 2
    assert not {"aten::clone", "aten::copy_", "aten::_to_copy"} & set(log.names)
    for x in (found, back):
        assert x.is_contiguous(memory_format=torch.channels_last)
