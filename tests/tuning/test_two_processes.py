"""Training in two processes where some parameters get no gradient."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from pathways import small_hub
from torch import distributed, nn
from two_heads import TwoHeads

from hubfast.tuning.distributed import strategy_for, unused_parameters

SCRIPT = """
import sys
import numpy as np
import torch
from pathways import CLASSES, small_hub
from two_heads import TwoHeads
from hubfast.data import as_target_data
from hubfast.tuning import TargetEncoder, ImageDataset, Recipe, Trainer
from hubfast.tuning.distributed import is_first_process

if __name__ == "__main__":
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3)).astype(np.uint8)
    data = as_target_data((list(images), np.arange(24) % CLASSES))
    labels = TargetEncoder.of(data)
    pictures = ImageDataset(data, labels, (16, 16))
    trainer = Trainer(Recipe(epochs=1, batch_size=6), accelerator="cpu", devices=2, progress=False)
    for name, method in (("hub", small_hub(1)), ("heads", TwoHeads())):
        before = [p.clone() for p in method.parameters()]
        history = trainer.fit(method, pictures, labels)
        moved = sum(not torch.equal(a, b) for a, b in zip(before, method.parameters()))
        total = sum(float(p.double().sum()) for p in method.parameters())
        with open(f"{sys.argv[1]}/{name}-{is_first_process()}", "w") as file:
            print(history.steps, history.samples, moved > 0, f"{total:.12f}", file=file)
"""


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="torch has no gloo")
def test_both_processes_train_and_agree(tmp_path):
    """With strategy "auto" both start from one script and end with the same weights."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(tests / "helpers"), str(tests.parent)])
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for name in ("hub", "heads"):
        first, second = ((tmp_path / f"{name}-{one}").read_text() for one in (True, False))
        assert first == second
        assert first.startswith("4 24 True ")  # steps, samples of both, weights that moved


def test_the_strategy_follows_from_the_method():
    images = torch.rand(2, 3, *tiny.SIZE)
    assert unused_parameters(TwoHeads(), images) == ["other_head.weight", "other_head.bias"]
    assert unused_parameters(tiny.model(), images) == []
    assert unused_parameters(TwoHeads().requires_grad_(False), images) == []
    for method, wanted in (
        (tiny.model(), "auto"),
        (TwoHeads(), "ddp_find_unused_parameters_true"),
        (small_hub(1), "ddp_find_unused_parameters_true"),
        (nn.ModuleList([small_hub(1)]), "ddp_find_unused_parameters_true"),  # any part says so
    ):
        assert strategy_for("auto", method, images) == wanted
    assert strategy_for("ddp_spawn", TwoHeads(), images) == "ddp_spawn_find_unused_parameters_true"
    assert strategy_for("fsdp", TwoHeads(), images) == "fsdp"
