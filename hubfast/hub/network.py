"""Models that run: any nn.Module or callable, fed with samples in their own preprocessing."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hubfast.data.block import Block
from hubfast.data.texts import is_text
from hubfast.hub.memory import within_memory
from hubfast.hub.model import Batch, Extraction, SampleSequence, shape_error
from hubfast.hub.numbers import as_floats
from hubfast.hub.outputs import pooled
from hubfast.hub.preprocessing import TimmTransform
from hubfast.hub.taps import Layers, Run, Taps
from hubfast.hub.timm_layers import TimmLayers
from hubfast.nn.hooks import eval_mode, on_device
from hubfast.nn.last_layers import LastLayers, unwrapped, weight_dtype
from hubfast.utils.stopwatch import Stopwatch
from hubfast.utils.threads import worker_processes


class FeatureModule(nn.Module):
    """A module whose forward returns features `(b, D)`, and source logits `(b, Cs)` or None."""

    def layers(self) -> Layers | None:
        """Where its hidden states are to be had; None for nowhere."""
        return None


def stacked(samples: list[Any]) -> Any:
    """Stacks tensors to one batch; gives anything else as the list it is."""
    return torch.stack(samples) if isinstance(samples[0], Tensor) else samples


@dataclass(frozen=True, eq=False)
class Network:
    """A module or callable that maps a batch to features.

    Args:
        run: nn.Module or callable; see `features_of` for what it may return.
        transform: Turns a PIL image into the model's input tensor. None: the model takes float
            tensors (stacked), a bare callable also lists of PIL images or strings.
        collate: Makes a batch of prepared samples.
        reads_text: Samples are strings, which `collate` turns into tensors.
        count: Number of parameters, where `run` does not hold them as torch's.
        imagenet: Published top-1 accuracy on ImageNet, percent.
        advice: How to give a module without a transform one.
        notes: What the user should know of how the model is run.
    """

    run: Callable[[Any], Any]
    transform: Callable[[Any], Tensor] | None = None
    collate: Callable[[list[Any]], Any] = stacked
    reads_text: bool = False
    count: int | None = None
    imagenet: float | None = None
    advice: str = "hubfast.hub.as_source(module, transform=...)"
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int | None:
        if self.count is not None or not isinstance(self.run, nn.Module):
            return self.count
        return sum(p.numel() for p in self.run.parameters())

    @property
    def framing(self) -> TimmTransform | None:
        """How its images are resized and cropped, where other models may share that."""
        return self.transform if isinstance(self.transform, TimmTransform) else None

    def batches(self, data: SampleSequence, options: Extraction) -> Iterator[Batch]:
        """Yields features of all of `data`; a module comes back in its modes and on its device."""
        with ExitStack() as held:
            dtype = None
            if isinstance(self.run, nn.Module):
                held.enter_context(eval_mode(self.run))
                held.enter_context(on_device(self.run, options.device))
                dtype = weight_dtype(self.run)
            yield from self._batches(data, options, dtype)

    def _batches(
        self, data: SampleSequence, options: Extraction, dtype: torch.dtype | None
    ) -> Iterator[Batch]:
        seen, waiting = 0, time.perf_counter()
        layers = None if options.points.default else layers_of(self.run)
        ended = layers.ended if isinstance(layers, TimmLayers) else None
        run: Run = partial(features_of, self.run, logits=options.logits, ended=ended)
        taps = None if layers is None else Taps(options.points, layers)
        run = run if taps is None else taps.around(run)
        for inputs in self._inputs(data, options):
            inputs = _moved(inputs, options.device, dtype)
            prepared, forward = time.perf_counter() - waiting, Stopwatch(options.device)
            # Not inference mode: tensors that a module keeps must still be fit for training.
            with forward, torch.no_grad(), in_precision(options):
                features, logits = within_memory(run, inputs)
            count = min(options.batch_size, len(data) - seen)
            for what, rows in (("features", features), ("logits", logits)):
                if rows is not None and len(rows) != count:
                    raise shape_error(what, f"({count}, D) for {count}", rows)
            index = torch.arange(seen, seen + count, device="cpu")
            columns = None if taps is None else taps.columns
            yield Batch(index, features, logits, prepared, forward, columns)
            seen, waiting = seen + count, time.perf_counter()

    def _inputs(self, data: SampleSequence, options: Extraction) -> Iterator[Any]:
        """Batches of prepared samples."""
        if self.framing is not None and isinstance(data, Block) and data.images:
            gpu = torch.device(options.device).type == "cuda"
            for pixels in data.pixels(self.framing).split(options.batch_size):
                sent = pixels.pin_memory() if gpu else pixels  # else sending waits for the GPU
                yield self.framing.normalised(sent.to(options.device, non_blocking=True))
            return
        loader = DataLoader(
            _Prepared(data, self),
            batch_size=options.batch_size,
            num_workers=worker_processes(options.workers),
            collate_fn=self.collate,
            pin_memory=options.device.startswith("cuda"),
            generator=torch.Generator("cpu"),  # else it draws from torch's own, which is the user's
        )
        with torch.device("cpu"):  # where the generator is, whatever the user's default
            prepared = iter(loader)
        yield from prepared


def in_precision(options: Extraction) -> AbstractContextManager[object]:
    """What a module runs in, for the precision that is asked for."""
    device = torch.device(options.device).type
    return torch.autocast(device, torch.bfloat16, enabled=options.precision == "bf16")


def layers_of(run: Any) -> Layers | None:
    """Where the hidden states of a module are to be had; None where its layers cannot be told."""
    run = unwrapped(run)
    if isinstance(run, FeatureModule):
        return run.layers()
    return TimmLayers.of(run) if hasattr(run, "forward_head") else None


def features_of(
    run: Callable[[Any], Any],
    inputs: Any,
    logits: bool,
    ended: Callable[[Any], object] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Gives features `(b, D)` and, where asked for and there, source logits `(b, Cs)`.

    - timm models: the pooled features before the classifier, and the classifier's output.
    - A FeatureModule: what it returns.
    - Other nn.Modules: if a linear layer gives what they return, that layer is the classifier and
      its input the features; else what they return is the features.
    - Callables: they return features, or (features, logits).

    Maps `(b, D, H, W)` are averaged over their places, tokens `(b, tokens, D)` over their
    positions. Numbers of other types become float32 or float64. `ended` is called with what enters
    the head of a timm model.
    """
    run = unwrapped(run)
    if not isinstance(run, nn.Module) or isinstance(run, FeatureModule):
        result = run(inputs)
        if isinstance(result, tuple) and len(result) != 2:
            raise ValueError(
                f"a model must return features or (features, logits), got {len(result)} values"
            )
        features, out = result if isinstance(result, tuple) else (result, None)
        features = np.asarray(features) if isinstance(features, list) else features
        return _rows(features), _rows(out, "logits")
    if not hasattr(run, "forward_head"):
        return _of_module(run, inputs)
    timm: Any = run
    last = getattr(timm, "output_fmt", "NCHW") == "NHWC"
    maps = timm.forward_features(inputs)
    if ended is not None:
        ended(maps)
    features = _rows(timm.forward_head(maps, pre_logits=True), channels_last=last)
    if not logits or getattr(timm, "num_classes", None) == 0:
        return features, None
    return features, _rows(timm.forward_head(maps), "logits", channels_last=last)


def _of_module(module: nn.Module, inputs: Any) -> tuple[Tensor, Tensor | None]:
    with LastLayers() as seen:
        out = module(inputs)
    found = seen.classifier(out) if isinstance(out, Tensor) else None
    features, logits = (out, None) if found is None else found
    first = seen.channels_first and found is None
    return _rows(features, channels_first=first), _rows(logits, "logits")


def _rows(
    x: Any, what: str = "features", *, channels_first: bool = False, channels_last: bool = False
) -> Any:
    """Gives `x` as floats `(b, D)`; None for no logits.

    Args:
        x: What a model returned.
        what: What it is, for messages.
        channels_first: Three axes are `(b, D, places)` and not `(b, tokens, D)`.
        channels_last: Four axes are `(b, H, W, D)` and not `(b, D, H, W)`.
    """
    if x is None and what == "logits":
        return None
    x = as_floats(x, what) if hasattr(x, "__array__") else x
    if not isinstance(x, Tensor) or x.ndim < 2:
        raise shape_error(what, "a tensor (batch, D)", x)
    if x.ndim == 3 and channels_first:
        return x.mean(2)
    return pooled(x.flatten(3) if x.ndim > 4 else x, channels_last=channels_last)


def _moved(inputs: Any, device: str, dtype: torch.dtype | None) -> Any:
    """Moves `inputs` to the device, floats in the number type of the model."""
    if isinstance(inputs, Tensor):
        wanted = dtype if inputs.is_floating_point() else None
        return inputs.to(device, wanted, non_blocking=True)
    if isinstance(inputs, Mapping):
        return {key: _moved(value, device, dtype) for key, value in inputs.items()}
    return inputs


class _Prepared(Dataset):
    def __init__(self, data: SampleSequence, network: Network):
        self.data, self.network = data, network

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        sample, network = self.data[index], self.network
        module = isinstance(network.run, nn.Module)
        if network.reads_text or (is_text(sample) and (module or network.transform)):
            if isinstance(sample, str) and network.reads_text:
                return sample
            wanted, got = ("text", "images") if network.reads_text else ("images", "text")
            raise TypeError(f"this model reads {wanted}, the data gives {got}")
        if isinstance(sample, Tensor):
            if network.transform is None:
                return sample
            raise TypeError(
                "this model preprocesses images, the data gives float tensors of shape "
                f"{tuple(sample.shape)}; give uint8 images"
            )
        if network.transform is not None:
            return network.transform(sample)
        if module:
            raise TypeError(
                "the data gives images and this model has no preprocessing of its own; "
                f"give it one: {network.advice}"
            )
        return sample
