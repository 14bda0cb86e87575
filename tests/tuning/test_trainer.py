"""The Trainer: resuming after a kill, diverging, devices, schedules, logs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import torch
from torch import nn

from hubfast.pathway import HubModel, HubPathway, PathwayGenerator
from hubfast.tuning import (
    Objective,
    Recipe,
    TaskLoss,
    Trainer,
    TrainingDiverged,
)
from hubfast.tuning.samples import BatchOrder
from hubfast.utils import files
from hubfast.utils.threads import one_torch_thread

# 24 samples in batches of 4: 6 steps an epoch. Dropout and crops: randomness in both places.
RECIPE = Recipe(epochs=8, batch_size=4, lr=1e-2)
KILLED = """
import time, test_trainer
from pathlib import Path
test_trainer.slow_run(Path({folder!r}), 0.15)
"""


class Slow(nn.Module):
    """Takes its time, so that it can be killed in the middle."""

    def __init__(self, seconds):
        super().__init__()
        self.inner, self.seconds = tiny.model(dropout=0.3), seconds

    def forward(self, images):
        time.sleep(self.seconds)
        return self.inner(images)


def slow_run(folder, seconds):
    """Trains, going on where a run before stopped."""
    pictures, labels = tiny.pictures(augment="crop-flip")
    trainer = cpu(folder=folder, save_every=4)
    return trainer.fit(Slow(seconds), pictures, labels, resume=True)


def cpu(recipe=RECIPE, **options):
    return Trainer(recipe, accelerator="cpu", progress=False, **options)


def start(code):
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent / "helpers"), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


def test_resume_after_kill_9_gives_the_same_weights(tmp_path):
    file = tmp_path / "killed" / "checkpoint.pt"
    process = start(KILLED.format(folder=str(file.parent)))
    deadline = time.monotonic() + 120
    while not file.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.4)  # into steps that no checkpoint holds
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < files.load(file)["step"] < 48

    with one_torch_thread():  # as in the killed process
        resumed = slow_run(file.parent, 0)
        unbroken = slow_run(tmp_path / "unbroken", 0)
    found, wanted = (
        files.load(tmp_path / name / "checkpoint.pt") for name in ("killed", "unbroken")
    )
    assert found["step"] == wanted["step"] == 48
    assert found["method"].keys() == wanted["method"].keys()
    for name, value in wanted["method"].items():
        assert torch.equal(found["method"][name], value), name
    assert resumed.terms == unbroken.terms
    assert [p.name for p in file.parent.iterdir()] == ["checkpoint.pt"]


class Stopped(Exception):
    """In the middle of a run."""


def test_a_hub_resumes_to_the_same_weights_and_diagnostics(tmp_path, monkeypatch):
    def run(folder, stop_at=None):
        def hub():  # of models that see pictures of 8 pixels
            torch.manual_seed(0)
            models = [HubModel(tiny.Small(w), name=f"w{w}") for w in (4, 6, 8)]
            generator = PathwayGenerator(tiny.Small(3).eval(), tiny.Small(3))
            generator.mean.module.fc = nn.Linear(3, 3)
            generator.spread.fc = nn.Linear(3, 3)
            return HubPathway(models, 2, classes=5, generator=generator)

        method, steps = hub(), []
        own = method.losses

        def losses(images, targets):
            steps.append(len(images))
            if len(steps) == stop_at:
                raise Stopped
            return own(images, targets)

        monkeypatch.setattr(method, "losses", losses)
        pictures, labels = tiny.pictures()
        trainer = cpu(folder=folder, save_every=4)
        return method, trainer.fit(method, pictures, labels, resume=True)

    with pytest.raises(Stopped):
        run(tmp_path / "stopped", stop_at=23)
    method, history = run(tmp_path / "stopped")
    whole, unbroken = run(tmp_path / "unbroken")
    for name, value in whole.state_dict().items():
        assert torch.equal(method.state_dict()[name], value), name
    assert history.terms == unbroken.terms
    assert history.diagnostics == unbroken.diagnostics
    shares = [history.diagnostics[f"load/w{w}"][-1] for w in (4, 6, 8)]
    assert sum(shares) == pytest.approx(2)


def test_a_checkpoint_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    files.save(path, {"step": 1})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        files.save(path, {"step": 2})
    assert files.load(path)["step"] == 1
    torch.save({"other": 1}, path)
    with pytest.raises(ValueError, match=r"does not hold hubfast\.Checkpoint"):
        files.load(path)


def test_training_learns_and_measures():
    pictures, labels = tiny.pictures(60)
    held, _ = tiny.pictures(30, seed=1)
    method = tiny.model()
    recipe = Recipe(epochs=12, batch_size=8, lr=3e-2)
    history = cpu(recipe).fit(method, pictures, labels, validation=held)
    assert history.metric[-1] == 1.0
    assert history.terms["task"][-1] < 0.5 * history.terms["task"][0]
    assert (history.steps, history.samples) == (12 * 7, 12 * 60)
    assert history.iterations_per_second > 0
    assert not method.training


def test_training_leaves_the_global_generator_alone():
    pictures, labels = tiny.pictures()
    method = tiny.model(dropout=0.3)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    cpu(Recipe(epochs=1)).fit(method, pictures, labels)
    assert torch.equal(torch.rand(3), wanted)


class Broken(nn.Module):
    """A term that becomes NaN at the third step."""

    def __init__(self):
        super().__init__()
        self.inner, self.calls = tiny.model(), 0

    def forward(self, images):
        return self.inner(images)

    def losses(self, images, targets):
        self.calls += 1
        task = nn.functional.cross_entropy(self.inner(images), targets)
        return {"task": task, "extra": 0 * task if self.calls < 3 else task / 0}


def test_divergence_names_step_batch_and_term():
    pictures, labels = tiny.pictures()
    method = Broken()
    order = list(BatchOrder(24, 4, 1, seed=0))[2]
    shown = ", ".join(str(position) for _, position in order)
    with pytest.raises(TrainingDiverged, match=rf"'extra' is inf at step 2, .* samples {shown};"):
        cpu(Recipe(epochs=1, batch_size=4)).fit(method, pictures, labels)
    assert method.calls == 3
    weights = [p for p in method.parameters() if p.requires_grad]
    assert all(bool(torch.isfinite(p).all()) for p in weights)


def test_losses_may_ask_for_rows():
    seen = []

    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny.model()

        def forward(self, images):
            return self.inner(images)

        def losses(self, images, targets, rows):
            seen.extend(rows.tolist())
            return {"task": nn.functional.cross_entropy(self.inner(images), targets)}

    pictures, labels = tiny.pictures()
    cpu(Recipe(epochs=1, batch_size=4)).fit(Asking(), pictures, labels)
    assert sorted(seen) == list(range(24))
    assert not Objective(tiny.model(), TaskLoss(labels)).takes_rows


def test_resume_refuses_another_run(tmp_path):
    pictures, labels = tiny.pictures()
    cpu(Recipe(epochs=1), folder=tmp_path).fit(tiny.model(), pictures, labels)
    with pytest.raises(ValueError, match="run with another epochs, lr"):
        cpu(Recipe(epochs=2, lr=1.0), folder=tmp_path).fit(
            tiny.model(), pictures, labels, resume=True
        )
    fewer, _ = tiny.pictures(12)
    with pytest.raises(ValueError, match="run with another data"):
        cpu(Recipe(epochs=1), folder=tmp_path).fit(tiny.model(), fewer, labels, resume=True)
    with pytest.raises(ValueError, match="folder must say where"):
        cpu().fit(tiny.model(), pictures, labels, resume=True)


def test_a_finished_run_is_not_repeated(tmp_path):
    pictures, labels = tiny.pictures()
    first, again = tiny.model(), tiny.model(seed=1)
    trainer = cpu(Recipe(epochs=2), folder=tmp_path)
    history = trainer.fit(first, pictures, labels)
    assert trainer.fit(again, pictures, labels, resume=True) == history
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


class Watched(Slow):
    """With numbers to log."""

    def diagnostics(self):
        return {"load/a": 0.25}


def test_tensorboard_has_terms_diagnostics_and_metric(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    pictures, labels = tiny.pictures()
    trainer = cpu(Recipe(epochs=2, batch_size=8), folder=tmp_path, tensorboard=True)
    history = trainer.fit(Watched(0), pictures, labels, validation=pictures)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    losses = events.Scalars("loss/task")
    assert [e.step for e in losses] == list(range(6))
    assert [e.value for e in events.Scalars("load/a")] == [0.25] * 6
    assert history.diagnostics == {"load/a": [0.25, 0.25]}
    metric = [e.value for e in events.Scalars("validation/accuracy")]
    assert metric == pytest.approx(history.metric)


def test_bf16_autocast_trains():
    pictures, labels = tiny.pictures()
    method = tiny.model()
    history = cpu(Recipe(epochs=2), precision="bf16-mixed").fit(method, pictures, labels)
    assert all(p.dtype == torch.float32 for p in method.parameters())
    assert len(history.terms["task"]) == 2


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "step", "constant"])
def test_schedules(schedule):
    method = tiny.model()
    recipe = Recipe(lr=0.1, head_factor=10, schedule=schedule, optimizer="sgd")
    optimizer, scheduler = recipe.build(method, steps=9)
    rates = []
    for _ in range(9):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    peaks = [max(column) for column in zip(*rates, strict=True)]
    assert peaks == pytest.approx([0.1, 1.0], rel=0.1)
    ends = {"one-cycle": 0.0, "cosine": 0.003, "step": 0.01, "constant": 0.1}
    assert rates[-1][0] == pytest.approx(ends[schedule], abs=0.004)
    heads = {id(p) for p in method.head.parameters()}
    assert {id(p) for p in optimizer.param_groups[1]["params"]} == heads


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be positive, got 0"),
        ({"lr": -1.0}, r"lr must be positive, got -1\.0"),
        ({"optimizer": "lion"}, "optimizer must be one of .*, got 'lion'"),
        ({"schedule": "x"}, "schedule must be one of .*, got 'x'"),
    ],
)
def test_recipes_refuse(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**options)


def test_nothing_to_train():
    with pytest.raises(ValueError, match="must have parameters to train"):
        Recipe().build(tiny.model().requires_grad_(False), 3)


def test_batches_hold_every_sample_once_an_epoch_and_resume_anywhere():
    order = list(BatchOrder(23, 5, 3, seed=1))
    assert len(order) == 3 * 4
    for epoch in range(3):
        keys = [key for batch in order[4 * epoch : 4 * epoch + 4] for key in batch]
        assert {e for e, _ in keys} == {epoch}
        assert sorted(p for _, p in keys) == list(range(23))
    for first in (0, 1, 4, 7, 12):
        assert list(BatchOrder(23, 5, 3, seed=1, first=first)) == order[first:]
    shards = [list(BatchOrder(23, 5, 3, seed=1, rank=rank, world=2)) for rank in range(2)]
    for whole, a, b in zip(order, *shards, strict=True):
        assert sorted(whole) == sorted(a + b)
    with pytest.raises(ValueError, match="batch_size must be at least 4"):
        BatchOrder(4, 2, 1, seed=0, world=4)
