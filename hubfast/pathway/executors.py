"""Ways to run the chosen models, all with the same results."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from hubfast.ops import dispatch
from hubfast.ops.reference import Routes
from hubfast.pathway.models import HubModel, ResizedBatch, running_statistics
from hubfast.utils.threads import cores, parallel_map

Outputs = list[Tensor | None]
Executor = Callable[[Sequence[HubModel], ResizedBatch, Routes, int], Outputs]
CHUNK = 4  # rows of a task: fewer run slower each, more leave a core idle at the end


def batches(
    models: Sequence[HubModel], batch: ResizedBatch, routes: Routes
) -> Iterator[tuple[int, Tensor]]:
    """Each chosen model's position and its rows `(rows, 3, height, width)`.

    Adjacent models of one size share one gather. Reads the offsets: the one wait for a GPU.
    """
    offsets = routes.offsets.tolist()
    for size, group in groupby(range(len(models)), key=lambda m: models[m].size):
        members = list(group)
        start, stop = offsets[members[0]], offsets[members[-1] + 1]
        if start == stop:
            continue
        rows = dispatch(batch.of(size), routes, start, stop)
        for m in members:
            if offsets[m] < offsets[m + 1]:
                yield m, rows[offsets[m] - start : offsets[m + 1] - start]


def run(model: HubModel, rows: Tensor, min_count: int) -> Tensor:
    """The model's outputs; with fewer rows than `min_count`, batch norm does not learn of them."""
    few = model.training and len(rows) < min_count
    with running_statistics(model, few):
        return model(rows)


def loop(
    models: Sequence[HubModel], batch: ResizedBatch, routes: Routes, min_count: int
) -> Outputs:
    """Runs one model after the other, each on its rows."""
    outputs: Outputs = [None] * len(models)
    for m, rows in batches(models, batch, routes):
        outputs[m] = run(models[m], rows, min_count)
    return outputs


def dense(
    models: Sequence[HubModel], batch: ResizedBatch, routes: Routes, min_count: int
) -> Outputs:
    """Runs every model on every sample; what was not chosen is thrown away.

    For comparisons. In training, batch norm then sees the whole batch, so results differ there.
    """
    offsets = routes.offsets.tolist()
    outputs: Outputs = [None] * len(models)
    for m, model in enumerate(models):
        found = run(model, batch.of(model.size), min_count)
        if offsets[m] < offsets[m + 1]:
            outputs[m] = dispatch(found, routes, offsets[m], offsets[m + 1])
    return outputs


def threads(
    models: Sequence[HubModel], batch: ResizedBatch, routes: Routes, min_count: int
) -> Outputs:
    """Runs parts of the models' rows at once, one per core, on the CPU without gradients.

    Raises:
        RuntimeError: A model is in training mode, gradients are on, or the device is no CPU.
    """
    if torch.is_grad_enabled() or any(m.training for m in models):
        raise RuntimeError("executor 'threads' must run in eval mode and under torch.no_grad()")
    if batch.images.device.type != "cpu":
        raise RuntimeError(f"executor 'threads' is for the CPU, got {batch.images.device}")
    tasks = [
        (m, part)
        for m, rows in batches(models, batch, routes)
        for part in rows.tensor_split(max(1, round(len(rows) / CHUNK)))
    ]
    kind = (torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"))
    half = torch.get_autocast_dtype("cpu")

    def forward(task: tuple[int, Tensor]) -> Tensor:
        m, rows = task
        # These modes belong to a thread.
        with torch.inference_mode(kind[0]), torch.no_grad(), torch.autocast("cpu", half, kind[1]):
            return models[m](rows)

    found = parallel_map(forward, tasks, cost=lambda task: len(task[1]))
    outputs: Outputs = [None] * len(models)
    for m, parts in groupby(zip(tasks, found, strict=True), key=lambda pair: pair[0][0]):
        outputs[m] = torch.cat([out for _, out in parts])
    return outputs


def automatic(
    models: Sequence[HubModel], batch: ResizedBatch, routes: Routes, min_count: int
) -> Outputs:
    """`threads` where it may run, there are cores for it and rows for all of them; else `loop`."""
    quiet = not torch.is_grad_enabled() and not any(m.training for m in models)
    here = batch.images.device.type == "cpu" and cores() > 1
    enough = routes.order.numel() >= CHUNK * cores()
    return (threads if quiet and here and enough else loop)(models, batch, routes, min_count)
