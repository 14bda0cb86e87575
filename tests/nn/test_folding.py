"""BatchNorm is folded where nothing else sees what the convolution gives, and nowhere else."""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubfast.nn.folding import conv_norm_pairs, fold_norms

IMAGES = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)


def trained(module):
    """The module in eval mode, as if it had been trained: no BatchNorm is near the identity."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            if part.affine:
                nn.init.uniform_(part.weight, -1.5, 1.5)
                nn.init.normal_(part.bias)
            if part.running_mean is not None:
                part.running_mean.normal_()
                part.running_var.uniform_(0.01, 4)
    return module.eval()


class Net(nn.Module):
    """A convolution and a BatchNorm, whose `run` says what is done with them."""

    def __init__(self, run=lambda self, x: self.norm(self.conv(x)), **options):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, **options)
        self.norm = nn.BatchNorm2d(4)
        self._run = run

    def forward(self, x):
        return self._run(self, x)


def changed(change, **options):
    """A net with something done to it before it is folded."""
    net = Net(**options)
    return change(net) or net


def replaced(name, part):
    return lambda net: setattr(net, name, part)


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, padding=1)


class Doubled(nn.BatchNorm2d):
    def forward(self, x):
        return 2 * super().forward(x)


def added(self, x):
    y = self.conv(x)
    return self.norm(y) + y


def kept(self, x):
    self.last = self.conv(x)
    return self.norm(self.last)


def view_changed(self, x):
    y = self.conv(x)
    y[:, 0] = 0
    return self.norm(y)


def tied(self, x):
    return self.norm(self.conv(x)).sum() + self.conv.weight.sum()


def seen_by_hook(net):
    net.outer = nn.Sequential(net.conv)
    net.outer.register_forward_hook(lambda module, args, out: setattr(net, "seen", out.mean()))
    net._run = lambda self, x: self.norm(self.outer(x))


def huge(net):
    net.conv.weight.data.fill_(3e38)
    net.norm.eps = 1e-9
    net.norm.affine = False
    net.norm.weight.data.fill_(1e6)


def in_cycle(self, x):
    y = self.conv(x)
    cycle = [y]
    cycle.append(cycle)
    return self.norm(y)


UNFIT = {
    "used by an addition": lambda: Net(added),
    "returned as well": lambda: Net(lambda self, x: (y := self.conv(x), self.norm(y))),
    "returned in a dict": lambda: Net(
        lambda self, x: {"y": (y := self.conv(x)), "z": self.norm(y)}
    ),
    "kept by the module": lambda: Net(kept),
    "changed through a view": lambda: Net(view_changed),
    "activation in place between": lambda: Net(lambda self, x: self.norm(self.conv(x).relu_())),
    "activation between": lambda: Net(lambda self, x: self.norm(self.conv(x).relu())),
    "weight used elsewhere": lambda: Net(tied),
    "used by a hook of its parent": lambda: changed(seen_by_hook),
    "convolution runs twice": lambda: Net(lambda self, x: self.norm(self.conv(x)) + self.conv(x)),
    "norm runs twice": lambda: Net(lambda self, x: self.norm(self.norm(self.conv(x)))),
    "norm of two": lambda: Net(
        lambda self, x: self.norm(self.conv(x)) + self.norm(x.repeat(1, 2, 1, 1)[:, :4])
    ),
    "weights standardised": lambda: changed(replaced("conv", Standardised(3, 4, 3))),
    "weights parametrised": lambda: changed(
        lambda net: nn.utils.parametrizations.weight_norm(net.conv) and None
    ),
    "hook on the convolution": lambda: changed(
        lambda net: net.conv.register_forward_hook(lambda module, args, out: 2 * out) and None
    ),
    "hook on the norm": lambda: changed(
        lambda net: net.norm.register_forward_pre_hook(lambda module, args: (2 * args[0],)) and None
    ),
    "forward replaced": lambda: changed(lambda net: setattr(net.norm, "forward", torch.sin)),
    "no statistics": lambda: changed(
        replaced("norm", nn.BatchNorm2d(4, track_running_stats=False))
    ),
    "norm derived": lambda: changed(replaced("norm", Doubled(4))),
    "a norm of another kind": lambda: changed(replaced("norm", nn.GroupNorm(2, 4))),
    "a linear layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4)),
    "transposed": lambda: changed(replaced("conv", nn.ConvTranspose2d(3, 4, 3))),
    "not finite": lambda: changed(huge),
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_is_not_a_pair_is_left_as_it_is(what):
    module = UNFIT[what]()
    module = trained(module)
    state = {name: x.clone() for name, x in module.state_dict().items()}
    with torch.no_grad():
        before = module(IMAGES)
        assert fold_norms(module, IMAGES[:1]) == 0
        torch.testing.assert_close(module(IMAGES), before, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(dict(module.state_dict()), state, rtol=0, atol=0)


FIT = {
    "plain": Net,
    "no bias": lambda: Net(bias=False),
    "grouped": lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)),
    "reflected": lambda: Net(padding_mode="reflect"),
    "not affine": lambda: changed(replaced("norm", nn.BatchNorm2d(4, affine=False))),
    "shape is read": lambda: Net(
        lambda self, x: self.norm(y) if (y := self.conv(x)).shape[1] == 4 else y
    ),
    "garbage that holds it": lambda: Net(in_cycle),
    "in one dimension": lambda: nn.Sequential(
        nn.Flatten(2), nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU()
    ),
    "in three": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4)
    ),
    "known by two names": lambda: changed(lambda net: setattr(net, "again", net.norm)),
}


@pytest.mark.parametrize("what", FIT)
def test_a_pair_is_folded_and_computes_the_same(what):
    module = trained(FIT[what]()).double()
    images = IMAGES.double()
    with torch.no_grad():
        before = module(images)
        assert fold_norms(module, images[:1]) == 1
        torch.testing.assert_close(module(images), before, rtol=1e-12, atol=1e-12)
    assert not any(isinstance(x, nn.modules.batchnorm._BatchNorm) for x in module.modules())


def test_a_norm_in_training_mode_is_left():
    net = trained(Net())
    net.norm.train()
    assert fold_norms(net, IMAGES) == 0


def test_values_by_hand():
    """y = 2x + 1, then (y - 3) / 2 * 5 + 7: that is 5x + 2."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=1.0)).eval()
    for x, value in zip(net.state_dict().values(), (2, 1, 5, 7, 3, 3), strict=False):
        x.fill_(value)
    assert fold_norms(net, torch.zeros(1, 1, 1, 1)) == 1
    assert net[0].weight.item() == 5
    assert net[0].bias.item() == 2


def test_float16_is_left_alone():
    net = trained(Net()).bfloat16()
    assert fold_norms(net, IMAGES[:1].bfloat16()) == 0


@pytest.mark.parametrize("act", ["relu", "silu", None])
def test_activation_and_dropout_of_timm_stay(act):
    from timm.layers import BatchNormAct2d, get_act_layer

    layer = {"apply_act": False} if act is None else {"act_layer": get_act_layer(act)}
    norm = BatchNormAct2d(4, drop_layer=nn.Dropout, **layer)
    module = trained(nn.Sequential(nn.Conv2d(3, 4, 3), norm)).double()
    images = IMAGES.double()
    before = module(images)
    assert fold_norms(module, images[:1]) == 1
    torch.testing.assert_close(module(images), before)
    assert any(isinstance(part, nn.Dropout) for part in module.modules())


def test_modules_that_run_in_other_threads_are_not_concerned():
    other = trained(Net())
    wanted = other(IMAGES)
    results, stop = [], threading.Event()

    def run():
        while not stop.is_set():
            results.append(torch.equal(other(IMAGES), wanted))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        for _ in range(20):
            net = trained(Net())
            assert len(conv_norm_pairs(net, IMAGES)) == 1
            assert not net.conv._forward_hooks
            assert not net.norm._forward_pre_hooks
    finally:
        stop.set()
        thread.join()
    assert results
    assert all(results)


def test_hooks_are_gone_after_an_error():
    net = trained(Net())
    with pytest.raises(RuntimeError):
        fold_norms(net, torch.zeros(1, 5, 8, 8))
    assert not net.conv._forward_hooks
    assert not net.norm._forward_pre_hooks
    assert isinstance(net.norm, nn.BatchNorm2d)


def test_it_is_the_same_each_time():
    net = trained(nn.Sequential(Net(), nn.ReLU()))
    twin = copy.deepcopy(net)
    for each in (net, twin):
        fold_norms(each, IMAGES[:1])
    assert torch.equal(net(IMAGES), twin(IMAGES))
