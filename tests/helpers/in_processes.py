"""Methods of tuning on tiny models without batch norm, and runs of them in one or two processes."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import tiny
import tiny_texts
import torch
from torch import nn

from hubfast.hub import as_hub
from hubfast.nn.collectives import rows_of_all
from hubfast.pathway import HubModel, HubPathway, PathwayGenerator
from hubfast.tuning import (
    Recipe,
    TargetEncoder,
    Trainer,
    TrainingDiverged,
    TuningContext,
    build,
    evaluate,
)
from hubfast.tuning.processes import ALONE
from hubfast.tuning.texts import TextDataset

# 23 samples in batches of 5 or 6, of which two processes have 3 and 2, or 3 each.
RECIPE = Recipe(epochs=2, batch_size=5, lr=1e-2, clip=1.0)
METHODS = (
    *("single", "b-tuning", "kd", "bss", "l2-sp", "delta", "knowledge-flow", "ensemble", "zoo"),
    *("hub-pathway", "hub-of-batch", "lora", "text-single", "text-b-tuning", "text-ensemble"),
)


def plain(width):
    return nn.Identity()


def small(width, seed):
    torch.manual_seed(seed)
    return tiny.Small(width, norm=plain)


def hub_pathway(entropy):
    """One of four models for each sample, chosen without noise."""
    models = [HubModel(small(w, w), name=f"w{w}") for w in (3, 4, 5, 6)]
    torch.manual_seed(9)
    for model in models:
        model.module.fc = nn.Linear(model.module.fc.in_features, 3)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    network[1].weight.data *= 5  # choices that differ from image to image
    generator = PathwayGenerator(network)
    return HubPathway(models, 1, classes=3, generator=generator, entropy=entropy, exploration=1.0)


def method_of(name, images, labels, processes=ALONE):
    if name.startswith("hub-"):
        return hub_pathway("batch" if name == "hub-of-batch" else "sample")
    if name.startswith("text-"):
        return method_of_texts(name.removeprefix("text-"), images, labels, processes)
    width = 3 if name == "bss" else 6  # of which the smallest singular value is no rounding error
    models = {"a": small(width, 0), "b": small(width, 1)}
    for model in models.values():
        model.feature_info = [{"module": "conv"}]  # as timm names stages
    sources = as_hub(models, progress=False)
    context = TuningContext(
        sources, images, labels, 8, device="cpu", batch_size=5, processes=processes
    )
    weights = {"bss": 10.0, "l2-sp": 10.0}  # that the terms count
    return build(name, context, None, weight=weights.get(name))


def method_of_texts(name, texts, labels, processes):
    def save():  # as the first process alone, which transformers wants
        folder = Path(mkdtemp())
        return [tiny_texts.save(folder, "bert", seed, dropout=False) for seed in (0, 1)], folder

    saved, folder = processes.alone(save)
    context = TuningContext(
        as_hub(saved), texts, labels, 8, device="cpu", batch_size=5, processes=processes
    )
    method = build(name, context, None)
    if processes.world > 1:
        torch.distributed.barrier()
    processes.alone(lambda: rmtree(folder))
    return method


def data(name, count=23, seed=0):
    if not name.startswith("text-"):
        return tiny.pictures(count, seed=seed)
    target = tiny_texts.data(count, 3, seed)
    labels = TargetEncoder.of(target)
    return TextDataset(target, labels), labels


def run(name, folder, **options):
    """Trains a method; returns its weights, its history, and how good it is on other images."""
    images, labels = data(name)
    held, _ = data(name, 11, seed=1)
    trainer = Trainer(RECIPE, folder=folder, accelerator="cpu", progress=False, save_every=3)
    with trainer.processes() as processes:
        method = method_of(name, images, labels, processes)
        stop_at = options.pop("stop_at", None)
        if stop_at is not None:
            stopped_after(method, stop_at)
        try:
            history = trainer.fit(method, images, labels, validation=held, **options)
        except Stopped:
            return None
        found = evaluate(method, held, labels, batch_size=4, processes=processes)
    return {
        "weights": dict(method.state_dict()),
        "terms": history.terms,
        "diagnostics": history.diagnostics,
        "metric": history.metric,
        "samples": history.samples,
        "logits": found.logits,
    }


class Unsendable(Exception):
    """Cannot be made from what it says."""

    def __init__(self, one, other):
        super().__init__(f"{one} {other}")


class Alike(Exception):
    """Raised by all processes."""


def what_is_told(processes):
    """What each of two processes gets from the methods of `Processes` and the collectives."""
    rank, seen = processes.rank, []
    found = {"ranks": [rank, processes.world]}
    found["alone"] = processes.alone(lambda: f"of {rank}")
    marks = Path(os.environ["MARKS"])

    def work():
        seen.extend(sorted(p.name for p in marks.iterdir()))
        (marks / str(rank)).touch()
        return f"own {rank}, seen {seen}"

    found["in turn"] = processes.in_turn(work)

    def raised(error):
        raise error

    def alike():
        with processes.alike():
            raise Alike("by all")

    for error in (KeyError("k"), KeyboardInterrupt(), Unsendable(1, 2)):
        told = partial(processes.alone, partial(raised, error))
        found[type(error).__name__] = kinds(told)
    found["Alike"] = kinds(alike)
    found["whole"] = {
        n: processes.whole(torch.arange(2.0 * n).view(n, 2)[list(processes.part(n))], n)
        for n in (1, 2, 3, 8)
    }
    found["mean"] = processes.mean(torch.tensor([1.0 + rank, 4.0]))
    rows = torch.arange(5.0).view(5, 1)[2 * rank : 2 + 3 * rank].requires_grad_()
    everybody = rows_of_all(rows)
    everybody.sum().backward()
    return found | {"rows": everybody.detach(), "gradient": rows.grad}


def kinds(work):
    """The types of what is raised, and of its cause."""
    try:
        work()
    except BaseException as error:
        return type(error).__name__, type(error.__cause__).__name__
    return None


def diverged():
    """What is raised when the loss becomes NaN in the second process only, and after which step."""
    images, labels = data("single")
    method, trainer = small(6, 0), Trainer(RECIPE, accelerator="cpu", progress=False)
    method.fc = nn.Linear(6, 3)
    steps = []

    def losses(images, targets):
        steps.append(None)
        task = nn.functional.cross_entropy(method(images), targets)
        with trainer.processes() as processes:
            broken = processes.rank == 1 and len(steps) == 3
        return {"task": task * (float("nan") if broken else 1.0)}

    method.losses = losses
    try:
        trainer.fit(method, images, labels)
    except TrainingDiverged as error:
        return str(error), type(error.__cause__).__name__, len(steps)
    return None


class Stopped(Exception):
    """In the middle of a run."""


def stopped_after(method, steps):
    """Makes a method stop, in all processes, when it has taken so many steps."""
    own, seen = method.losses, []

    def losses(*given):
        seen.append(None)
        if len(seen) > steps:
            raise Stopped
        return own(*given)

    method.losses = losses


def torchrun(*arguments, **environment):
    """Starts two processes by torchrun on the CPU; torch chooses a free port."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1]), *sys.path])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", *map(str, arguments)]
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
