"""Executors for a GPU: models on streams of their own, and as CUDA graphs."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hubfast.ops.reference import Routes
from hubfast.pathway.executors import Outputs, batches, run
from hubfast.pathway.models import HubModel, ResizedBatch

_Captured = tuple[torch.cuda.CUDAGraph, Tensor, Tensor]  # and what it reads and writes


class Streams:
    """Models at once on a few CUDA streams, the one with the most samples first.

    Autograd runs each model's backward pass on the stream of its forward pass.

    Args:
        streams: How many streams there are.
    """

    def __init__(self, streams: int = 4):
        if streams < 1:
            raise ValueError(f"streams must be at least 1, got {streams}")
        self.count = streams
        self._streams: list[torch.cuda.Stream] = []

    def __call__(
        self, models: Sequence[HubModel], batch: ResizedBatch, routes: Routes, min_count: int
    ) -> Outputs:
        """Runs the models like `executors.loop`.

        Raises:
            RuntimeError: The images are not on a GPU.
        """
        device = _gpu(batch, "Streams")
        if not self._streams or self._streams[0].device != device:
            self._streams = [torch.cuda.Stream(device) for _ in range(self.count)]
        caller = torch.cuda.current_stream(device)
        given = sorted(batches(models, batch, routes), key=lambda pair: -len(pair[1]))
        outputs: Outputs = [None] * len(models)
        for stream in self._streams:
            stream.wait_stream(caller)
        for turn, (m, rows) in enumerate(given):
            stream = self._streams[turn % self.count]
            with torch.cuda.stream(stream):
                found = run(models[m], rows, min_count)
            # Memory of a tensor is reused by the stream that made it; the other still reads it.
            rows.record_stream(stream)
            found.record_stream(caller)
            outputs[m] = found
        for stream in self._streams:
            caller.wait_stream(stream)
        return outputs


class Graphs:
    """Each model as CUDA graphs for a few batch sizes, up to which its rows are padded.

    In eval mode only, where the other rows of a batch do not change a row's result. Graphs are
    captured when first needed, one per model, shape, dtype, device and mode, and go with their
    model. They read its weights where they are: call `clear` after anything that moves them.

    Args:
        step: Batch sizes are multiples of it.
    """

    def __init__(self, step: int = 4):
        if step < 1:
            raise ValueError(f"step must be at least 1, got {step}")
        self.step = step
        self.clear()

    def clear(self) -> None:
        """Forgets all graphs and frees their memory."""
        self._known: WeakKeyDictionary[HubModel, dict[tuple, _Captured]] = WeakKeyDictionary()
        self._pools: dict[torch.device, Any] = {}

    def __call__(
        self, models: Sequence[HubModel], batch: ResizedBatch, routes: Routes, min_count: int
    ) -> Outputs:
        """Runs the models like `executors.loop`.

        Raises:
            RuntimeError: A model is in training mode, gradients are on, or there is no GPU.
        """
        _gpu(batch, "Graphs")
        if torch.is_grad_enabled() or any(m.training for m in models):
            raise RuntimeError("executor Graphs must run in eval mode and under torch.no_grad()")
        outputs: Outputs = [None] * len(models)
        for m, rows in batches(models, batch, routes):
            outputs[m] = self._replay(models[m], rows)
        return outputs

    def _replay(self, model: HubModel, rows: Tensor) -> Tensor:
        graphs = self._known.setdefault(model, {})
        size = -(-len(rows) // self.step) * self.step
        half = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        # What was captured under inference mode cannot be written to outside of it.
        quiet = torch.is_inference_mode_enabled()
        key = (size, rows.shape[1:], rows.dtype, rows.device, half, quiet)
        with torch.cuda.device(rows.device):
            if key not in graphs:
                # Without autocast's cache of cast weights: a graph would read it after it is gone.
                with torch.autocast("cuda", half, half is not None, cache_enabled=False):
                    graphs[key] = self._capture(model, rows, size)
            graph, given, found = graphs[key]
            given[: len(rows)].copy_(rows)
            graph.replay()
            return found[: len(rows)].clone()

    def _capture(self, model: HubModel, rows: Tensor, size: int) -> _Captured:
        given = rows.new_zeros(size, *rows.shape[1:])
        given = given.contiguous(memory_format=torch.channels_last)
        side = torch.cuda.Stream(rows.device)
        side.wait_stream(torch.cuda.current_stream(rows.device))
        with torch.cuda.stream(side):
            for _ in range(3):  # libraries pick their algorithms before the capture
                model(given)
        torch.cuda.current_stream(rows.device).wait_stream(side)
        if rows.device not in self._pools:  # a GPU's graphs run in turn, so they share memory
            self._pools[rows.device] = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pools[rows.device]):
            found = model(given)
        return graph, given, found


def _gpu(batch: ResizedBatch, name: str) -> torch.device:
    device = batch.images.device
    if device.type != "cuda":
        raise RuntimeError(f"executor {name} must run on a GPU, got {device}")
    return device
