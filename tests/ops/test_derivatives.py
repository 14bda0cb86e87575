"""Every way of torch's to differentiate, on every op: it works, or says that it does not."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, jacfwd, jacrev, jvp, vjp
from torch.testing import assert_close

from hubfast import ops

ROUTES = ops.route(torch.tensor([[0.3, 0.1, 0.9], [0.2, 0.8, 0.4]], dtype=torch.float64), 2)
MAKE = torch.Generator().manual_seed(5)
KERNELS = torch.randn(2, 3, 2, 3, 3, generator=MAKE, dtype=torch.float64)  # (M or B, O, I, h, w)
IMAGES = torch.randn(2, 2, 5, 4, generator=MAKE, dtype=torch.float64)
GATES = torch.rand(2, 2, generator=MAKE, dtype=torch.float64)
ROWS = torch.randn(4, 3, generator=MAKE, dtype=torch.float64)
SPREAD = torch.randn(2, 3, generator=MAKE, dtype=torch.float64)

# A function of one tensor, and the tensor.
CASES = {
    "bss": (lambda x: ops.bss(x, 2, backend="torch"), ROWS),
    "route": (lambda x: ops.route(x, 2).gates, SPREAD),
    "route, probabilities": (lambda x: ops.route(x, 1).probabilities, SPREAD),
    "route, spread": (lambda x: ops.route(SPREAD, 2, spread=x, noise=SPREAD).entropy, SPREAD),
    "dispatch": (lambda x: ops.dispatch(x, ROUTES), IMAGES),
    "combine": (lambda x: ops.combine(x, ROUTES.gates, ROUTES.position), ROWS),
    "combine, gates": (lambda x: ops.combine(ROWS, x, ROUTES.position), GATES),
    "aggregate": (lambda x: ops.aggregate(x, GATES), KERNELS),
    "aggregate, gates": (lambda x: ops.aggregate(KERNELS, x), GATES),
    "sample_conv": (lambda x: ops.sample_conv(x, KERNELS, padding=(1, 1)), IMAGES),
    "sample_conv, weight": (lambda x: ops.sample_conv(IMAGES, x), KERNELS),
    "zoo_conv": (lambda x: ops.zoo_conv(x, KERNELS, GATES), IMAGES),
    "zoo_conv, weights": (lambda x: ops.zoo_conv(IMAGES, x, GATES), KERNELS),
    "zoo_conv, gates": (lambda x: ops.zoo_conv(IMAGES, KERNELS, x), GATES),
}
each = pytest.mark.parametrize("case", CASES)
# Without a rule of its own an op runs slice by slice, of which torch warns.
slices = pytest.mark.filterwarnings("ignore:There is a performance drop")
jit = pytest.mark.filterwarnings("ignore:`torch.jit.script`")  # torch.func.jvp's own


def of(case):
    function, x = CASES[case]
    name = "hubfast::" + case.partition(",")[0]
    return name, function, lambda x: function(x).square().sum(), x


def backward(loss, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss(x), x)[0]


def dual(function, x):
    with forward_ad.dual_level():
        return function(forward_ad.make_dual(x, torch.ones_like(x)))


FORWARD = {
    "a dual": dual,
    "a dual that requires grad": lambda f, x: dual(f, x.clone().requires_grad_()),
    "jvp": lambda f, x: jvp(f, (x,), (x,)),
    "jacfwd": lambda f, x: jacfwd(f)(x),
    "jvp of grad": lambda f, x: jvp(grad(lambda x: f(x).sum()), (x,), (x,)),
    "jvp of vmap": lambda f, x: jvp(torch.vmap(f), (x[None],), (x[None],)),
    "vmap of jvp": lambda f, x: torch.vmap(lambda x: jvp(f, (x,), (x,)))(x[None]),
}


@jit
@slices
@each
@pytest.mark.parametrize("way", FORWARD)
def test_forward_mode_is_refused_by_name(case, way):
    name, function, _, x = of(case)
    with pytest.raises(NotImplementedError, match=f"{name} has no forward-mode derivative"):
        FORWARD[way](function, x)


@each
def test_grad_and_vjp(case):
    _, function, loss, x = of(case)
    wanted = backward(loss, x)
    assert wanted.abs().max() > 0
    assert_close(grad(loss)(x), wanted)
    y, back = vjp(function, x)
    assert_close(back(2 * y)[0], wanted)


@slices
@each
def test_vmap(case):
    _, function, loss, x = of(case)
    several = torch.stack([x, 2 * x, -x])
    assert_close(torch.vmap(function)(several), torch.stack([function(x) for x in several]))
    wanted = torch.stack([backward(loss, x) for x in several])
    assert_close(torch.vmap(grad(loss))(several), wanted)
    assert_close(grad(lambda x: torch.vmap(loss)(x).sum())(several), wanted)


@slices
@each
def test_jacrev(case):
    _, function, _, x = of(case)
    assert_close(jacrev(function)(x), torch.autograd.functional.jacobian(function, x))


SECOND = {
    "autograd": lambda f, x: torch.autograd.functional.hessian(f, x),
    "grad of grad": lambda f, x: grad(lambda x: grad(f)(x).square().sum())(x),
    "a penalty on the gradient": lambda f, x: penalty(f, x.clone().requires_grad_()).backward(),
}


def penalty(loss, x):
    return torch.autograd.grad(loss(x), x, create_graph=True)[0].square().sum()


@each
@pytest.mark.parametrize("way", SECOND)
def test_second_derivatives_are_refused_by_name(case, way):
    name, _, loss, x = of(case)
    with pytest.raises(RuntimeError, match=f"{name} has no second derivative"):
        SECOND[way](loss, x)


@each
def test_checkpointing(case):
    _, function, loss, x = of(case)
    again = torch.utils.checkpoint.checkpoint
    found = backward(lambda x: again(function, x, use_reentrant=False).square().sum(), x)
    assert_close(found, backward(loss, x))


def test_ops_without_a_derivative_say_so():
    rows = torch.rand(6, 3, dtype=torch.float64, requires_grad=True)
    gram = (rows.T @ rows).detach().requires_grad_()
    found = ops.spectrum(gram, rows.detach().T, backend="torch")
    with pytest.raises(RuntimeError, match="hubfast::spectrum has no derivative"):
        found.eigenvalues.sum().backward()
    with pytest.raises(RuntimeError, match="add_gram writes in place and has no derivative"):
        ops.add_gram(torch.zeros(3, 3, dtype=torch.float64), rows)
