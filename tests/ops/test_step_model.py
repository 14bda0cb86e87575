"""The arithmetic of a step on an H100, by hand-computed values."""

import math

import h100
import pytest
import torch
from absent_gpu import Kernel, Launch
from machine_code import Loop, MachineCode
from noted import Noted
from step_model import BATCH, empty, grouped, images, layers, plain, seconds, turns

LOOP = Loop(0x100, 0x200, instructions=100, read=64, written=8, products=4096, copies=4)


def launch(name: str, *, programs: int = 132, **constants: int) -> Launch:
    code = MachineCode(300, {16: 4}, 0, ["wgmma"], [LOOP])
    kernel = Kernel("", name, 90, 4, 3, constants, registers=97, stack=0, shared=31_744, code=code)
    return Launch(kernel, (programs, 1, 1), [empty(1), empty(BATCH, 5), empty(BATCH, 5)])


def test_layers_are_those_of_resnet_50():
    assert len(list(layers())) == 25
    assert sum(layer.count for layer in layers()) == 53
    products = sum(layer.flops * layer.count for layer in layers()) / 2 / BATCH
    assert products == pytest.approx(4.087e9, rel=1e-3)  # with the classifier 4.089e9
    weights = sum(math.prod(layer.weight) * layer.count for layer in layers())
    assert weights == 23_454_912


def test_programs_of_a_multiprocessor():
    kernel = launch("_convolve").kernel
    assert h100.resident(kernel) == 65_536 // (104 * 128)  # 97 registers take 104; 7 by memory


@pytest.mark.parametrize(
    ("programs", "turns", "moved", "expected"),
    [
        (132, 1, 3e9, 1e-3),  # HBM
        (132 * 50, 1000, 0, 132 * 50 * 1000 * 64 * 128 / 5.5e12),  # L2
        (133, 1, 0, max(2 * 300 * 4 / (4 * 1.755e9), 200e-9)),  # a second program on one of them
        (1, 1000, 0, 1000 * 200e-9),  # one program's chain, two loads ahead
    ],
)
def test_the_longest_decides(programs, turns, moved, expected):
    found = h100.kernel_seconds(launch("_convolve", programs=programs), turns, moved)
    assert found == pytest.approx(expected)


def test_turns_come_from_work_and_loop():
    layer = next(one for one in layers() if one.group == "3x3, strided")  # 128, 56 px to 28
    tile = {"PIXELS": 64, "OUT": 16, "CHANNELS": 8}  # 4 warps of 4096
    assert turns(launch("_convolve", GRADIENT=False, **tile), layer) == 9 * 16
    assert turns(launch("_convolve", GRADIENT=True, **tile), layer) == 9 / 4 * 16
    tile = {"PIXELS": 64, "OUT": 16, "COLUMNS": 8}
    assert turns(launch("_weight_gradient", **tile), layer) == math.ceil(28 * 28 / 64)
    assert turns(launch("_aggregate", BLOCK=256), layer) == BATCH / 2  # two samples in a turn
    with pytest.raises(ValueError, match="_aggregation"):
        turns(launch("_aggregation"), layer)


def test_a_loop_that_does_not_multiply_the_tile_is_refused():
    tile = {"PIXELS": 64, "OUT": 16, "CHANNELS": 16}
    with pytest.raises(ValueError, match="must multiply one tile"):
        turns(launch("_convolve", GRADIENT=False, **tile), next(layers()))


def test_what_l2_holds_is_not_read_again():
    small, large = empty(1_000_000), empty(7_000_000)
    cache = h100.L2Cache()
    assert cache.missed([small]) == 4_000_000
    assert cache.missed([small, small[:10]]) == 40  # a view is other bytes
    assert cache.missed([large]) == 28_000_000  # more than L2 holds
    assert cache.missed([small]) == 4_000_000


def test_operators_are_noted_with_their_products():
    events = []
    x, weight = images(8, 6).requires_grad_(), empty(4, 8, 3, 3, dtype=torch.bfloat16)
    with Noted(events):
        y = torch.nn.functional.conv2d(x, weight.requires_grad_(), padding=1)
        torch.autograd.grad(y, (x, weight), torch.empty_like(y))
        torch.bmm(empty(2, 3, 4), empty(2, 4, 5), out=empty(2, 3, 5))
        empty(3).expand(2, 3).contiguous()
    flops = 2 * BATCH * 4 * 8 * 9 * 36
    assert [(event.name, event.flops) for event in events] == [
        ("convolution", flops),
        ("input gradient", flops),
        ("weight gradient", flops),
        ("bmm", 2 * 2 * 3 * 4 * 5),
        ("clone", 0),
    ]
    assert [one.shape for one in events[2].tensors] == [y.shape, x.shape, weight.shape]
    assert [one.shape for one in events[3].tensors] == [(2, 3, 4), (2, 4, 5), (2, 3, 5)]


def test_rivals_by_hand():
    stem, *_, last = layers()  # 3x3 of 512 channels on 7 x 7 pixels, twice
    weight, pixels, side = 512 * 512 * 9, BATCH * 49, 512
    rows = seconds(last, plain(last))
    assert rows["all"] == pytest.approx(3 * 2 * 2 * pixels * weight / (0.6 * h100.PEAK))
    assert rows["launches"] == 6
    moved = 3 * (2 * pixels * side + BATCH * weight) * 2  # convolutions: x, y and weights
    moved += 3 * 5 * weight * 4 + 2 * BATCH * weight * 2  # mixing, and its gradients
    assert seconds(last, grouped(last))["all"] == pytest.approx(2 * moved / h100.HBM, rel=0.03)
    assert seconds(stem, plain(stem))["input gradient"] == 0
