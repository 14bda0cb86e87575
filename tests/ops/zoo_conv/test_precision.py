"""The precision of float32 convolutions follows torch's switches, the newer and the older one."""

import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

SCRIPT = """
import torch
from hubfast.kernels.precision import precision

cudnn = torch.backends.cudnn
print(precision(torch.float32))
cudnn.allow_tf32 = False
print(precision(torch.float32))
cudnn.allow_tf32 = True
print(precision(torch.float32))
if hasattr(getattr(cudnn, "conv", None), "fp32_precision"):
    for level, value in ((cudnn.conv, "ieee"), (cudnn.conv, "tf32"), (cudnn.conv, "none"),
                         (cudnn, "tf32"), (cudnn, "none"), (torch.backends, "tf32"),
                         (torch.backends, "ieee"), (cudnn.conv, "tf32")):
        level.fp32_precision = value
        print(precision(torch.float32), precision(torch.bfloat16))
"""


def test_switches_are_followed():
    """In a process of its own: torch refuses the older switch once a newer one was set."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    former, now = done.stdout.splitlines()[:3], done.stdout.splitlines()[3:]
    assert former == ["tf32", "ieee", "tf32"]
    wanted = ["ieee", "tf32", "ieee", "tf32", "ieee", "tf32", "ieee", "tf32"]
    assert now in ([], [f"{value} ieee" for value in wanted])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_asks_no_switch(dtype, monkeypatch):
    from hubfast.kernels.precision import precision

    monkeypatch.delattr(torch.backends, "cudnn")
    assert precision(dtype) == "ieee"
