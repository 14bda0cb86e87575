"""Kernels of Hub-Pathway against the float64 reference, in the interpreter or on a GPU."""

import pytest
import torch
from torch.testing import assert_close

from hubfast import ops
from hubfast.ops import reference

pytest.importorskip("triton", reason="triton is not installed")

# B, M, k: degenerate, odd, a full tile, several tiles, many models, an empty batch
SHAPES = [(1, 1, 1), (7, 5, 2), (6, 4, 1), (5, 3, 3), (128, 8, 2), (300, 6, 3), (9, 33, 17)]
DTYPES = [torch.float32, torch.float16]


def error(found, truth):
    """Root mean square: the largest error of a few values is luck."""
    return (found.double() - truth).square().mean().sqrt().item() if truth.numel() else 0.0


def no_worse(found, plain, truth, dtype):
    """Within 1.5 times torch's own error in that dtype, or one rounding of the largest value."""
    last = torch.finfo(dtype).eps * max(truth.abs().max().item(), 1e-3) if truth.numel() else 0.0
    assert error(found, truth) <= max(1.5 * error(plain, truth), last)


def given(batch, models, dtype, device):
    logits, spread, noise = torch.randn(3, batch, models, device=device).to(dtype)
    return 2 * logits, 3 * spread, noise


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 2)], ids=str)
def test_route(shape, dtype, noisy, device):
    from hubfast.kernels import route as kernels

    batch, models, k = shape
    logits, spread, noise = given(batch, models, dtype, device)
    if not noisy:
        spread = noise = None
    exact = [None if x is None else x.double() for x in (spread, noise)]
    found = reference.Routes(*kernels.route(logits, k, spread, noise))
    plain = reference.route(logits, k, spread, noise)
    truth = reference.route(logits.double(), k, *exact)
    assert torch.equal(found.chosen, truth.chosen)
    for a, b in zip(found[3:], truth[3:], strict=True):
        assert torch.equal(a, b)
    for a, b, c in zip(found[:3], plain[:3], truth[:3], strict=True):
        no_worse(a, b, c, torch.float32)


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 2)], ids=str)
def test_route_backward(shape, noisy, device):
    from hubfast.kernels import route_backward as kernels

    batch, models, k = shape
    logits, spread, noise = given(batch, models, torch.float32, device)
    if not noisy:
        spread = noise = None
    routes = reference.route(logits, k, spread, noise)
    wanted = [torch.randn_like(x) for x in routes[:3]]
    arguments = (*wanted, *routes[:2], routes.chosen, spread, noise)
    exact = [x.double() if x is not None and x.is_floating_point() else x for x in arguments]
    found = kernels.route_backward(*arguments)
    plain, truth = reference.route_backward(*arguments), reference.route_backward(*exact)
    for a, b, c in zip(found, plain, truth, strict=True):
        no_worse(a, b, c, torch.float32)


def test_route_of_ties_zeros_and_infinities(device):
    from hubfast.kernels import route as kernels

    inf, nan = float("inf"), float("nan")
    rows = [
        [0.0, -0.0, 0.0],
        [1.0, 1.0, 2.0],
        [-inf, 0.0, -inf],
        [nan, 1.0, 2.0],
        [-1.0, -2.0, nan],
    ]
    for count in (3, 5):  # without NaN and with it
        logits = torch.tensor(rows[:count], device=device)
        found = reference.Routes(*kernels.route(logits, 2, None, None))
        truth = reference.route(logits, 2)
        for a, b in zip(found, truth, strict=True):
            assert_close(a, b, equal_nan=True)
        assert truth.entropy.isnan().all() == (count == 5)


def test_route_is_deterministic(device):
    from hubfast.kernels import route as kernels

    logits, spread, noise = given(200, 5, torch.float32, device)
    first, second = (kernels.route(logits, 2, spread, noise) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_dispatch(dtype, layout, device):
    from hubfast.kernels import dispatch as kernels

    routes = ops.route(torch.randn(6, 4, device=device), 2)
    images = torch.rand(6, 3, 19, 21, device=device).contiguous(memory_format=layout)
    cropped = images[:, :, 1:-2, 2:-1]  # no plane of its own
    for batch in (images, cropped, images[:, 0, 0], images[:, :2, 0]):
        for start, stop in ((0, 12), (3, 8), (5, 5)):
            arguments = (batch, routes.order, 2, start, stop, dtype)
            found, truth = kernels.dispatch(*arguments), reference.dispatch(*arguments)
            assert found.stride() == truth.stride() or not found.numel()
            assert torch.equal(found, truth)
            d_rows = torch.randn_like(truth)
            found = kernels.dispatch_backward(d_rows, routes.position, start, torch.float32)
            truth = reference.dispatch_backward(d_rows, routes.position, start, torch.float32)
            assert_close(found, truth, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 4, 2, 7), (3, 3, 3, 1024), (4, 2, 1, 1025)])
def test_combine(shape, dtype, device):
    from hubfast.kernels import dispatch as kernels

    batch, models, k, width = shape
    routes = ops.route(torch.randn(batch, models, device=device), k)
    rows = torch.randn(batch * k, width, device=device).to(dtype)
    arguments = (rows, routes.gates, routes.position)
    exact = (rows.double(), routes.gates.double(), routes.position)
    plain, truth = reference.combine(*arguments), reference.combine(*exact)
    no_worse(kernels.combine(*arguments), plain, truth, dtype)
    d_out = torch.randn(batch, width, device=device).to(dtype)
    found = kernels.combine_backward(d_out, *arguments)
    plain = reference.combine_backward(d_out, *arguments)
    truth = reference.combine_backward(d_out.double(), *exact)
    for a, b, c in zip(found, plain, truth, strict=True):
        no_worse(a, b, c, a.dtype)


def test_combine_of_nothing(device):
    from hubfast.kernels import dispatch as kernels

    routes = ops.route(torch.zeros(0, 3, device=device), 2)
    rows = torch.zeros(0, 4, device=device)
    assert kernels.combine(rows, routes.gates, routes.position).shape == (0, 4)
    found = kernels.combine_backward(rows, rows, routes.gates, routes.position)
    assert [x.shape for x in found] == [(0, 4), (0, 2)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_takes_triton_and_can_be_captured():
    logits, spread, noise = given(48, 5, torch.float32, "cuda")
    images = torch.rand(48, 3, 8, 8, device="cuda")

    def step():
        routes = ops.route(logits, 2, spread=spread, noise=noise)
        rows = ops.dispatch(images, routes).flatten(1)
        return ops.combine(rows, routes.gates, routes.position)

    step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # a wait for the host would be refused
        captured = step()
    graph.replay()
    assert_close(captured, step())
    expected = ops.route(logits, 2, spread=spread, noise=noise, backend="torch")
    assert torch.equal(ops.route(logits, 2, spread=spread, noise=noise)[3], expected.chosen)
