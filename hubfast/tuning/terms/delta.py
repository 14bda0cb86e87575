"""DELTA: feature maps stay near those of the pre-trained model, where channels matter.

Li, Xiong, Wang, Rao, Liu, Huan: "DELTA: DEep Learning Transfer using Feature Map with Attention
for convolutional networks", ICLR 2019.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubfast.nn.collectives import process_count, samples_of_all
from hubfast.tuning.objective import ForwardPass
from hubfast.tuning.pretrained import TransferModel

CHUNK = 64  # channels that are tried together, at most
PIXELS = 2**21  # in one pass of channel_attention at most: 41 images of 224 x 224


def delta(maps: Tensor, start: Tensor, attention: Tensor | None = None) -> Tensor:
    """Half the squared distance of feature maps `(B, C, H, W)`, summed over the batch; a scalar.

    With `attention` `(C,)`, weights that sum to 1: `1/2 sum_bc C a_c |m_bc - m0_bc|^2 / (H W)`.
    """
    if maps.shape != start.shape or maps.ndim != 4:
        raise ValueError(
            f"maps must be (B, C, H, W) like start, got {tuple(maps.shape)}, {tuple(start.shape)}"
        )
    distances = (maps - start).square()
    if attention is None:
        return 0.5 * distances.sum()
    return 0.5 * len(attention) * (distances.mean((2, 3)) * attention).sum()


@contextmanager
def feature_maps(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keeps the outputs of the modules of these names in the latest forward pass, by name."""
    maps: dict[str, Tensor] = {}

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, given: Any, out: Tensor) -> None:
            maps[name] = out

        return keep

    hooks = [model.get_submodule(name).register_forward_hook(keeper(name)) for name in names]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


class DELTA(nn.Module):
    """The term `weight * sum_layers delta + head_weight / 2 |head|^2`, both published as 0.01.

    `delta` is summed over the batch; in several processes, over the whole batch.

    Args:
        model: The model to tune; a frozen copy of it is kept.
        attention: Weights `(C,)` of the channels of modules in `model.model`, by their names, see
            `channel_attention`; None for the plain distance.
    """

    def __init__(
        self,
        model: TransferModel,
        attention: dict[str, Tensor | None],
        weight: float = 0.01,
        head_weight: float = 0.01,
    ):
        super().__init__()
        self.weight, self.head_weight, self.names = weight, head_weight, list(attention)
        self.start = copy.deepcopy(model).requires_grad_(False).eval()
        self._maps: dict[str, Tensor] = {}
        for k, values in enumerate(attention.values()):
            self.register_buffer(f"attention_{k}", values, persistent=False)

    def train(self, mode: bool = True) -> "DELTA":
        return super().train(False)

    @contextmanager
    def watch(self, model: TransferModel) -> Iterator[None]:
        """Keeps the feature maps of the forward pass around which `Regularised` enters it."""
        with feature_maps(model.model, self.names) as self._maps:
            yield
        self._maps = {}  # they hold the graph

    def forward(self, batch: ForwardPass) -> Tensor:
        with torch.no_grad(), feature_maps(self.start.model, self.names) as before:
            self.start.features(batch.images)
        distances = [
            delta(self._maps[name], before[name], getattr(self, f"attention_{k}"))
            for k, name in enumerate(self.names)
        ]
        head = torch.stack([p.square().sum() for p in batch.model.head.parameters()]).sum()
        distance = torch.stack(distances).sum()
        if process_count() > 1:  # whose mean is taken: this process's stands for the whole sum
            own = len(batch.images)
            distance = distance * (samples_of_all(own, distance.device) / own)
        return self.weight * distance + 0.5 * self.head_weight * head


@torch.no_grad()
def channel_attention(
    model: TransferModel, name: str, images: Tensor, targets: Tensor, *, chunk: int | None = None
) -> Tensor:
    """Weights `(C,)` of a layer's channels by what the loss loses without each.

    softmax of the standardised increase of cross-entropy over 5, as published. Exact: the layer's
    map is computed once, and copies of it with one channel of zeros each go through the rest of
    the model together, so that the cost is C passes of that rest only.

    Args:
        model: A model whose head was trained on the task; it is not changed.
        name: Name of a module in `model.model` with maps `(B, C, H, W)`.
        images: A few images.
        targets: Their targets.
        chunk: Channels at a time; None for as many as keep a pass within PIXELS, at most CHUNK.
    """
    model = copy.deepcopy(model).eval()
    layer = model.model.get_submodule(name)
    base = _maps_of(model, name, images)
    height, width = model.size or images.shape[-2:]
    chunk = chunk or max(1, min(CHUNK, PIXELS // (len(images) * height * width)))
    channels = base.shape[1]
    increase = []
    with torch.autocast(images.device.type, enabled=False):
        loss = F.cross_entropy(model(images), targets)
        for some in torch.arange(channels, device=images.device).split(chunk):

            def without(module: nn.Module, given: Any, out: Tensor, some: Tensor = some) -> Tensor:
                copies = out.repeat(len(some), 1, 1, 1, 1)  # (c, B, C, H, W)
                copies[torch.arange(len(some), device=some.device), :, some] = 0
                return copies.flatten(0, 1)

            hook = layer.register_forward_hook(without)
            logits = model(images)
            hook.remove()
            losses = F.cross_entropy(logits, targets.repeat(len(some)), reduction="none")
            increase.append(losses.view(len(some), -1).mean(1) - loss)
    gain = torch.cat(increase)
    return ((gain - gain.mean()) / gain.std().clamp(min=1e-12) / 5).softmax(0)


def _maps_of(model: TransferModel, name: str, images: Tensor) -> Tensor:
    with feature_maps(model.model, [name]) as found:
        model.features(images)
    maps = found[name]
    if maps.ndim != 4:
        raise ValueError(f"module {name!r} must give maps (B, C, H, W), got {tuple(maps.shape)}")
    return maps
