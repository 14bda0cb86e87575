"""A training step of B-Tuning beside plain fine-tuning, and beside its floor.

python -m pytest benchmarks/bench_b_tuning.py

ResNet-18 at 64 pixels, batches of 32, 37 classes, three teachers of the same size. The floor with
teachers in the loop is plain fine-tuning and the teachers' forward passes. Steps take turns, so
that all see the same machine; the figure is the median over rounds of the ratio within a round.
"""

import statistics
import time

import timm
import torch
from recording import record
from torch import nn

from hubfast.tuning import (
    BTuning,
    CachedTeachers,
    Objective,
    Regularised,
    TargetEncoder,
    TaskLoss,
    Teachers,
    TransferModel,
)

BATCH, SIZE, CLASSES, TEACHERS, ROUNDS = 32, 64, 37, 3, 15
LABELS = TargetEncoder(
    "classification", CLASSES, tuple(map(str, range(CLASSES))), torch.arange(CLASSES)
)


def resnet() -> TransferModel:
    return TransferModel(timm.create_model("resnet18"), CLASSES, torch.rand(2, 3, SIZE, SIZE))


def b_tuning(teachers: nn.Module) -> nn.Module:
    means = [torch.randn(CLASSES, 512) / 512 for _ in range(TEACHERS + 1)]
    term = BTuning(means[0], teachers, means[1:], [0.9, 0.85, 0.8])
    return Regularised(resnet(), TaskLoss(LABELS), {"b_tuning": term})


class Step:
    """One step of SGD on a fixed batch."""

    def __init__(self, method: nn.Module, before=lambda images: None):
        self.objective, self.before = Objective(method, TaskLoss(LABELS)).train(), before
        trained = [p for p in method.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, 1e-3, momentum=0.9)
        self.images = torch.rand(BATCH, 3, SIZE, SIZE)
        self.targets = torch.randint(0, CLASSES, (BATCH,))
        self.rows = torch.arange(BATCH)

    def seconds(self) -> float:
        started = time.perf_counter()
        self.before(self.images)
        self.optimizer.zero_grad()
        sum(self.objective(self.images, self.targets, self.rows).values()).backward()
        self.optimizer.step()
        return time.perf_counter() - started


def test_b_tuning_step(request):
    torch.manual_seed(0)
    online = Teachers([resnet() for _ in range(TEACHERS)])
    cached = CachedTeachers([torch.randn(1000, 512) for _ in range(TEACHERS)])
    steps = {
        "plain": Step(Regularised(resnet(), TaskLoss(LABELS), {})),
        "cached": Step(b_tuning(cached)),
        "online": Step(b_tuning(online)),
        "online floor": Step(Regularised(resnet(), TaskLoss(LABELS), {}), before=online),
    }
    for step in steps.values():
        step.seconds()
    rounds = [{name: step.seconds() for name, step in steps.items()} for _ in range(ROUNDS)]
    for ours, rival in (("cached", "plain"), ("online", "plain"), ("online", "online floor")):
        ratio = statistics.median(r[ours] / r[rival] for r in rounds)
        row = {
            "what": f"b-tuning step, {ours} teachers",
            "rival": rival,
            "rival_s": statistics.median(r[rival] for r in rounds),
            "hubfast_s": statistics.median(r[ours] for r in rounds),
            "overhead": round(ratio - 1, 3),
        }
        print(f"{row['what']} over {rival}: {100 * (ratio - 1):+.1f} %")
        record(request.config, row)
