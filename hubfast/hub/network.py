"""Models that run: any nn.Module or callable, fed with samples in their own preprocessing."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hubfast.data import TargetData
from hubfast.hub.memory import within_memory
from hubfast.hub.model import Batch, Extraction, shape_error


class FeatureModule(nn.Module):
    """A module whose forward returns features `(b, D)`, and source logits `(b, Cs)` or None."""


def stacked(samples: list[Any]) -> Any:
    """Tensors as one batch; anything else as the list it is."""
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
        count: Parameters, where `run` does not hold them as torch's.
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

    def batches(self, data: TargetData, how: Extraction) -> Iterator[Batch]:
        if isinstance(self.run, nn.Module):
            self.run.eval().to(how.device)
        loader = DataLoader(
            _Prepared(data, self),
            batch_size=how.batch_size,
            num_workers=how.workers,
            collate_fn=self.collate,
            pin_memory=how.device.startswith("cuda"),
            generator=torch.Generator("cpu"),  # else it draws from torch's own, which is the user's
        )
        seen, waiting = 0, time.perf_counter()
        with torch.device("cpu"):  # its seed is drawn on the default device, which may not draw
            prepared = iter(loader)
        for inputs in prepared:
            inputs = _moved(inputs, how.device)
            started = time.perf_counter()
            with torch.inference_mode():
                run = partial(features_of, self.run, logits=how.logits)
                features, logits = within_memory(run, inputs)
            if features.is_cuda:
                torch.cuda.synchronize(features.device)
            done = time.perf_counter()
            count = min(how.batch_size, len(data) - seen)
            if len(features) != count:
                raise shape_error("features", f"({count}, D) for {count}", features)
            index = torch.arange(seen, seen + count, device="cpu")
            yield Batch(index, features, logits, started - waiting, done - started)
            seen, waiting = seen + count, time.perf_counter()


def features_of(
    run: Callable[[Any], Any], inputs: Any, logits: bool
) -> tuple[Tensor, Tensor | None]:
    """Features `(b, D)` and, where asked for and there, source logits `(b, Cs)`.

    - timm models: the pooled features before the classifier, and the classifier's output.
    - A FeatureModule: what it returns.
    - Other nn.Modules: if what they return comes straight out of an nn.Linear, that layer is the
      classifier and its input the features; else what they return is the features.
    - Callables: they return features, or (features, logits).
    """
    if isinstance(run, nn.Module) and hasattr(run, "forward_head"):
        maps = run.forward_features(inputs)  # type: ignore[operator]
        features = run.forward_head(maps, pre_logits=True)  # type: ignore[operator]
        out = run.forward_head(maps) if logits else None  # type: ignore[operator]
    elif isinstance(run, nn.Module) and not isinstance(run, FeatureModule):
        features, out = _before_last_linear(run, inputs)
    else:
        result = run(inputs)
        features, out = result if isinstance(result, tuple) else (result, None)
        features = _tensor(features)
    if not isinstance(features, Tensor) or features.ndim < 2:
        raise shape_error("features", "a tensor (batch, D)", features)
    return features.flatten(1), None if out is None else _tensor(out)


def _tensor(out: Any) -> Tensor:
    """An array on the CPU, whatever the default device is; a tensor where it is."""
    return out if isinstance(out, Tensor) else torch.as_tensor(out, device="cpu")


@contextmanager
def last_linear(module: nn.Module, count: int = 1) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """While it is open: a list of the input and output of the last nn.Linear layers that ran.

    Args:
        module: Whose layers.
        count: Of how many of them, the last first.
    """
    last: list[tuple[Tensor, Tensor]] = []

    def keep(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        last[:] = [(given[0], out), *last][:count]

    hooks = [m.register_forward_hook(keep) for m in module.modules() if isinstance(m, nn.Linear)]
    try:
        yield last
    finally:
        for hook in hooks:
            hook.remove()


def _before_last_linear(module: nn.Module, inputs: Any) -> tuple[Tensor, Tensor | None]:
    with last_linear(module) as last:
        out = module(inputs)
    if last and last[0][1] is out:
        return last[0]
    return out, None


def _moved(inputs: Any, device: str) -> Any:
    if isinstance(inputs, Tensor):
        return inputs.to(device, non_blocking=True)
    if isinstance(inputs, Mapping):
        return {key: _moved(value, device) for key, value in inputs.items()}
    return inputs


class _Prepared(Dataset):
    def __init__(self, data: TargetData, network: Network):
        self.data, self.network = data, network

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        sample, network = self.data[index], self.network
        module = isinstance(network.run, nn.Module)
        if network.reads_text or (isinstance(sample, str) and (module or network.transform)):
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
