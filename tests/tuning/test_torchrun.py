"""`torchrun -m hubfast tune`: one process is killed; a single process goes on with the rest."""

import json
import os
import re
import signal
import time
from pathlib import Path

import in_processes
import numpy as np
import pytest
import timm
import tiny
import torch
from torch import distributed
from typer.testing import CliRunner

from hubfast.cli import app
from hubfast.utils import files

pytestmark = [
    pytest.mark.skipif(not distributed.is_gloo_available(), reason="torch has no gloo"),
    pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc"),
]


def second_process(torchrun):
    """The number of the process with rank 1 that this torchrun started."""
    children = Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split()
    for child in children:
        if b"RANK=1" in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(children)


def test_a_killed_process_ends_all_and_one_process_goes_on(tmp_path):
    weights = tmp_path / "weights.pt"
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), weights)
    images, targets = tiny.coloured(20)
    np.savez(tmp_path / "data.npz", images=images, targets=targets)
    output = tmp_path / "out"
    command = ["tune", "--hub", f"timm:test_resnet@{weights}", "--data", tmp_path / "data.npz"]
    command += ["--method", "single", "--epochs", "20", "--batch-size", "8", "--size", "16"]
    command = [*map(str, command), "--device", "cpu", "--quiet", "--output", str(output)]
    process = in_processes.torchrun("-m", "hubfast", *command)
    file, deadline = output / "checkpoint.pt", time.monotonic() + 200
    while not file.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(second_process(process.pid), signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "another process of this training ended" in said
    again = re.search(r"To go on:\n(torchrun .*)", said)[1]
    assert again == " ".join(["torchrun --nproc-per-node 2 -m hubfast", *command, "--resume"])
    step = files.load(file)["step"]
    assert 0 < step < 40
    assert not (output / "result.json").exists()

    done = CliRunner().invoke(app, [*command, "--resume"])
    assert done.exit_code == 0, done.output
    history = json.loads((output / "result.json").read_text())["history"]
    assert (history["steps"], history["samples"]) == (40, 20 * 16)
    assert len(history["metric"]) == 20
