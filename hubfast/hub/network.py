"""Models that run: any nn.Module or callable, fed with samples in their own preprocessing."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hubfast.data import TargetData
from hubfast.hub.model import Batch, Extraction, shape_error


@dataclass(frozen=True, eq=False)
class Network:
    """A module or callable that maps a batch to features.

    Args:
        run: nn.Module or callable; see `features_of` for what it may return.
        transform: Turns a PIL image into the model's input tensor. None: the model takes float
            tensors (stacked), a bare callable also lists of PIL images.
    """

    run: Callable[[Any], Any]
    transform: Callable[[Any], Tensor] | None = None

    @property
    def parameters(self) -> int | None:
        if not isinstance(self.run, nn.Module):
            return None
        return sum(p.numel() for p in self.run.parameters())

    def batches(self, data: TargetData, how: Extraction) -> Iterator[Batch]:
        if isinstance(self.run, nn.Module):
            self.run.eval().to(how.device)
        loader = DataLoader(
            _Prepared(data, self),
            batch_size=how.batch_size,
            num_workers=how.workers,
            collate_fn=_collate,
            pin_memory=how.device.startswith("cuda"),
        )
        seen, waiting = 0, time.perf_counter()
        for inputs in loader:
            if isinstance(inputs, Tensor):
                inputs = inputs.to(how.device, non_blocking=True)
            started = time.perf_counter()
            with torch.inference_mode():
                features, logits = features_of(self.run, inputs, how.logits)
            if features.is_cuda:
                torch.cuda.synchronize(features.device)
            done = time.perf_counter()
            index = torch.arange(seen, seen + len(inputs))
            if len(features) != len(inputs):
                raise shape_error("features", f"({len(inputs)}, D) for {len(inputs)}", features)
            yield Batch(index, features, logits, started - waiting, done - started)
            seen, waiting = seen + len(inputs), time.perf_counter()


def features_of(
    run: Callable[[Any], Any], inputs: Any, logits: bool
) -> tuple[Tensor, Tensor | None]:
    """Features `(b, D)` and, where asked for and there, source logits `(b, Cs)`.

    - timm models: the pooled features before the classifier, and the classifier's output.
    - Other nn.Modules: if what they return comes straight out of an nn.Linear, that layer is the
      classifier and its input the features; else what they return is the features.
    - Callables: they return features, or (features, logits).
    """
    if isinstance(run, nn.Module) and hasattr(run, "forward_head"):
        maps = run.forward_features(inputs)  # type: ignore[operator]
        features = run.forward_head(maps, pre_logits=True)  # type: ignore[operator]
        out = run.forward_head(maps) if logits else None  # type: ignore[operator]
    elif isinstance(run, nn.Module):
        features, out = _before_last_linear(run, inputs)
    else:
        result = run(inputs)
        features, out = result if isinstance(result, tuple) else (result, None)
        features = torch.as_tensor(features)
    if not isinstance(features, Tensor) or features.ndim < 2:
        raise shape_error("features", "a tensor (batch, D)", features)
    return features.flatten(1), None if out is None else torch.as_tensor(out)


def _before_last_linear(module: nn.Module, inputs: Any) -> tuple[Tensor, Tensor | None]:
    last: list[tuple[Tensor, Tensor]] = []

    def keep(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        last[:] = [(given[0], out)]

    hooks = [m.register_forward_hook(keep) for m in module.modules() if isinstance(m, nn.Linear)]
    try:
        out = module(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if last and last[0][1] is out:
        return last[0]
    return out, None


class _Prepared(Dataset):
    def __init__(self, data: TargetData, network: Network):
        self.data, self.network = data, network

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        sample = self.data[index]
        transform = self.network.transform
        if isinstance(sample, Tensor):
            if transform is None:
                return sample
            raise TypeError(
                "this model preprocesses images, the data gives float tensors of shape "
                f"{tuple(sample.shape)}; give uint8 images"
            )
        if transform is not None:
            return transform(sample)
        if isinstance(self.network.run, nn.Module):
            raise TypeError(
                "the data gives images and this nn.Module has no preprocessing of its own; "
                "give it one: hubfast.hub.as_source(module, transform=...)"
            )
        return sample


def _collate(samples: list[Any]) -> Any:
    return torch.stack(samples) if isinstance(samples[0], Tensor) else samples
