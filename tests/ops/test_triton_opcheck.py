"""Every op's Triton form as torch sees it, in the interpreter: schema, fake kernel, strides."""

import pytest
import torch
from torch.library import opcheck
from torch.testing import assert_close

from hubfast import ops
from hubfast.ops import backends
from hubfast.ops.zoo_conv import native

pytest.importorskip("triton", reason="triton is not installed")
pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="the interpreter runs on the CPU"),
    pytest.mark.filterwarnings("ignore:The .grad attribute"),  # opcheck's own
]


@pytest.fixture(autouse=True)
def triton(monkeypatch):
    """Tensors on the CPU take the forms for CUDA."""
    monkeypatch.setattr(backends, "on_device", lambda x, **known: known.get("cuda", ()))
    monkeypatch.setattr(native, "fits", lambda *_: False)


def transposed(*shape):
    """Of that shape, dense, with the first two dimensions swapped in memory."""
    return torch.randn(shape[1], shape[0], *shape[2:]).transpose(0, 1)


def taps_first(*shape):
    *first, channels, height, width = shape
    return torch.randn(*first, height, width, channels).movedim(-1, -3)


def channels_last(*shape):
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def cropped(*shape):
    return torch.randn(*shape[:2], shape[2] + 2, shape[3] + 1)[:, :, 1:-1, :-1]


LAYOUTS = {f.__name__: f for f in (torch.randn, transposed, channels_last, cropped)}
MATRICES = {f.__name__: f for f in (torch.randn, transposed)}
KERNELS = {f.__name__: f for f in (torch.randn, taps_first)}
# Compiled steps are tested below: opcheck's own take minutes in the interpreter.
LOOKS = ("test_schema", "test_autograd_registration", "test_faketensor")
images = pytest.mark.parametrize("image", LAYOUTS.values(), ids=LAYOUTS)
matrices = pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
kernels = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


def check(name, *arguments):
    opcheck(getattr(torch.ops.hubfast, name), arguments, test_utils=LOOKS)


def learned(x):
    """The same memory order, and a gradient."""
    return x.detach().requires_grad_()


def routed():
    return ops.route(torch.randn(4, 3), 2)


@matrices
@pytest.mark.parametrize(("k", "noisy"), [(1, False), (2, True)])
def test_route(matrix, k, noisy):
    logits, spread, noise = (matrix(4, 3) for _ in range(3))
    given = (learned(spread), noise) if noisy else (None, None)
    check("route", learned(logits), *given, k, None)
    gates, probabilities, _, chosen, *_ = ops.route(logits, k)
    wanted = (matrix(4, k), matrix(4, 3), torch.randn(2))
    saved = (gates, probabilities, chosen)
    check_without_gradient("route_backward", *wanted, *saved, *given, None)


def check_without_gradient(name, *arguments):
    check(name, *(x.detach() if isinstance(x, torch.Tensor) else x for x in arguments))


@images
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_dispatch(image, dtype):
    routes, batch = routed(), image(4, 3, 5, 6)
    check("dispatch", learned(batch), routes.order, routes.position, 1, 7, dtype, None)
    d_rows = image(6, 3, 5, 6).to(dtype)
    check("dispatch_backward", d_rows, routes.position, 1, torch.float32, None)


@matrices
def test_dispatch_of_vectors(matrix):
    routes = routed()
    whole = (routes.order, routes.position, 0, 8, torch.float32, None)
    check("dispatch", learned(matrix(4, 5)), *whole)
    check("dispatch_backward", matrix(8, 5), routes.position, 0, torch.float32, None)


@matrices
def test_combine(matrix):
    rows, gates, position = matrix(8, 5), matrix(4, 2), routed().position
    check("combine", learned(rows), learned(gates), position, None)
    check("combine_backward", matrix(4, 5), rows, gates, position, None)


@kernels
@matrices
def test_aggregate(kernel, matrix):
    weights, gates = kernel(3, 4, 5, 3, 3), matrix(2, 3)
    check("aggregate", learned(weights), learned(gates), torch.float32, None)
    check("aggregate_backward", kernel(2, 4, 5, 3, 3), weights, gates, None)


@pytest.mark.parametrize(
    ("image", "kernel", "size", "stride", "padding"),
    [
        (torch.randn, taps_first, 3, 1, 1),
        (channels_last, torch.randn, 3, 2, 0),
        (cropped, taps_first, 1, 2, 0),
        (channels_last, taps_first, 1, 1, 0),
        (transposed, torch.randn, 3, 1, 0),
    ],
)
def test_convolutions(image, kernel, size, stride, padding):
    how = ([stride, stride], [padding, padding], [1, 1], 1, None)
    x, weight = image(2, 3, 5, 4), kernel(2, 4, 3, size, size)
    y = torch.ops.hubfast.sample_conv(x, weight, *how)
    check("sample_conv", learned(x), learned(weight), *how)
    for wanted in (True, False):
        check("sample_conv_backward", torch.randn_like(y), x, weight, *how, wanted)
    weights, gates = kernel(5, 4, 3, size, size), torch.randn(2, 5)
    check("zoo_conv", learned(x), learned(weights), learned(gates), *how)
    for wanted in (True, False):
        check("zoo_conv_backward", torch.randn_like(y), x, weights, gates, *how, wanted)


STEPS = {
    "combine of transposed rows": (
        lambda rows: ops.combine(rows, torch.ones(4, 2), torch.arange(8).view(4, 2)),
        transposed(8, 5),
    ),
    "taps-first weights": (
        lambda w: ops.sample_conv(torch.ones(2, 3, 5, 5), w),
        taps_first(2, 4, 3, 3, 3),
    ),
    "a hub's taps-first weights": (
        lambda w: ops.zoo_conv(torch.ones(2, 3, 5, 5), w, torch.ones(2, 5)),
        taps_first(5, 4, 3, 3, 3),
    ),
    "taps-first weights, mixed": (
        lambda w: ops.aggregate(w, torch.ones(2, 5)),
        taps_first(5, 4, 3, 3, 3),
    ),
    "transposed logits": (lambda x: ops.route(x, 2).gates, transposed(4, 3)),
    "cropped images": (
        lambda x: ops.dispatch(x, ops.route(torch.ones(4, 3), 2)),
        cropped(4, 3, 5, 5),
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_compiled_step_goes_back(step):
    function, x = STEPS[step]
    loss = lambda x: function(x).square().sum()  # noqa: E731
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    x = learned(x)
    expected = torch.autograd.grad(loss(x), x)
    assert_close(torch.autograd.grad(compiled(x), x), expected)
