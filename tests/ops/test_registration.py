"""The template of ops: devices, places in memory, versions, and what torch.compile must not see."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from hubfast import ops
from hubfast.ops import registration
from hubfast.ops.registration import register


def fake(x: Tensor, y: Tensor | None, backend: str | None) -> Tensor:
    return torch.empty_like(x)


@register("test_sum", fake=fake)
def total(x: Tensor, y: Tensor | None, backend: str | None) -> Tensor:
    return x.clone() if y is None else x + y


@register("test_same", fake=fake)
def same(x: Tensor, y: Tensor | None, backend: str | None) -> Tensor:
    return x


@register("test_twins", fake=lambda x: (torch.empty_like(x), torch.empty_like(x)))
def twins(x: Tensor) -> tuple[Tensor, Tensor]:
    both = x.new_zeros(2, *x.shape)
    return both[0], both[1]


def test_tensors_are_on_one_device():
    x, elsewhere = torch.rand(3), torch.rand(3, device="meta")
    assert torch.equal(total(x, None, None), x)
    with pytest.raises(ValueError, match=r"test_sum: y must be on cpu as x is, got meta"):
        total(x, elsewhere, None)
    position = torch.arange(4).view(2, 2)
    with pytest.raises(ValueError, match="combine: gates must be on cpu as rows is, got meta"):
        ops.combine(torch.rand(4, 3), torch.rand(2, 2, device="meta"), position)


@pytest.fixture
def entered(monkeypatch):
    """The CUDA devices that were made current, in turn; None stands for leaving one."""
    seen = []

    class Device:
        def __init__(self, device):
            self.device = device

        def __enter__(self):
            seen.append(str(self.device))

        def __exit__(self, *_):
            seen.append(None)

    monkeypatch.setattr(torch.cuda, "device", Device)
    return seen


def on(device):
    return SimpleNamespace(device=torch.device(device))


def test_an_op_runs_on_the_device_of_its_tensors(entered):
    check = registration._one_device(torch.ops.hubfast.test_sum.default)
    run = registration._implementation(lambda x, y, _: list(entered), check)
    assert run(on("cuda:1"), on("cuda:1"), None) == ["cuda:1"]  # entered, and not yet left
    assert entered == ["cuda:1", None]
    with pytest.raises(ValueError, match="y must be on cuda:1 as x is, got cuda:0"):
        run(on("cuda:1"), on("cuda:0"), None)
    assert run(on("cpu"), None, None) == ["cuda:1", None]


def test_every_op_is_guarded(entered):
    """All ops of hubfast were registered by the template, whose functions stand in this file."""
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("hubfast::"):
            shown = torch._C._dispatch_dump(name)
            assert "registration.py" in shown, name


def test_opcheck_finds_outputs_that_share_memory():
    x = torch.rand(3)
    with pytest.raises(Exception, match="alias"):
        opcheck(torch.ops.hubfast.test_same, (x, None, None), test_utils="test_schema")
    with pytest.raises(Exception, match="alias"):
        opcheck(torch.ops.hubfast.test_twins, (x,), test_utils="test_schema")


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_writing_in_place_is_seen_by_autograd(mode):
    gram, rows = torch.zeros(3, 3).double(), torch.rand(5, 3).double()
    before = gram._version
    with mode():
        ops.add_gram(gram, rows)
    assert gram._version > before
    x = torch.ones(3, 3, dtype=torch.float64, requires_grad=True)
    loss = (x * gram).sum()
    ops.add_gram(gram, rows)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_inference_tensors_are_written():
    with torch.inference_mode():
        gram, rows = torch.zeros(2, 2).double(), torch.ones(3, 2).double()
        ops.add_gram(gram, rows)
        assert gram.triu().tolist() == [[3, 3], [0, 3]]


def test_a_first_call_does_not_import_the_compiler():
    code = (
        "import sys, torch; from hubfast import ops\n"
        "rows = torch.rand(5, 3, dtype=torch.float64, requires_grad=True)\n"
        "ops.add_gram(torch.zeros(3, 3).double(), rows.detach())\n"
        "ops.bss(rows).backward()\n"
        "assert rows.grad is not None\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_compiler_does_not_look_into_an_op():
    """A frame that it skips calls an op: it then meets the op's own frames, one by one."""
    from torch._dynamo.testing import CompileCounter

    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append(torch.compiler.is_compiling())
        return x * 2 + 1

    check = registration._one_device(torch.ops.hubfast.test_sum.default)
    run = registration._implementation(lambda x, y, _: look(x), check)
    counter = CompileCounter()

    @torch.compile(backend=counter)
    def step(x):
        torch._dynamo.graph_break()
        return run(x, None, None)

    assert step(torch.ones(2)).tolist() == [3, 3]
    assert seen == [False]
    assert counter.frame_count == 0
