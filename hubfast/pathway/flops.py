"""What a hub costs, as tables of papers count it, and the speed-up that this allows."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hubfast.nn.hooks import eval_mode
from hubfast.pathway.models import HubModel
from hubfast.pathway.module import HubPathway
from hubfast.profiling.counts import multiply_adds
from hubfast.utils.moved import moved

__getattr__ = moved("hubfast.pathway.flops", {"Cost": "hubfast.pathway.flops.HubFlops"})


@dataclass(frozen=True)
class HubFlops:
    """FLOPs of one image.

    Args:
        generator: FLOPs of the networks that choose.
        models: FLOPs of each model, in order.
        k: How many models an image runs on.
    """

    generator: float
    models: tuple[float, ...]
    k: int

    @property
    def ensemble(self) -> float:
        """FLOPs of all models."""
        return sum(self.models)

    @property
    def hub(self) -> float:
        """FLOPs of the generator and k models, were all chosen equally often."""
        return self.generator + self.k * self.ensemble / len(self.models)

    @property
    def limit(self) -> float:
        """How many times faster than the ensemble the hub can be, if time were FLOPs."""
        return self.ensemble / self.hub


def inference_cost(hub: HubPathway, size: int) -> HubFlops:
    """What an image of `size` pixels takes in inference.

    Counted are multiply-adds, and two for each value that batch norm makes. So counted, a
    ResNet-50 at 224 pixels has 4.11 G. Models run in their own size. Runs each once,
    in eval mode; a hub on the meta device works.
    """
    with eval_mode(hub):
        generator = _inference(hub.generator.mean, size)
        return HubFlops(generator, tuple(_inference(m, size) for m in _models(hub)), hub.k)


def training_cost(hub: HubPathway, size: int) -> HubFlops:
    """What an image of `size` pixels takes, forward and backward, the noise network included.

    Counted are multiply-adds of matrix products and convolutions, as torch counts them.
    """
    networks: list[nn.Module] = [hub.generator.mean]
    if hub.generator.spread is not None:
        networks.append(hub.generator.spread)
    generator = sum(_training(m, hub.generator.mean, size) for m in networks)
    return HubFlops(generator, tuple(_training(m, m, size) for m in _models(hub)), hub.k)


def _models(hub: HubPathway) -> list[HubModel]:
    return list(hub.models)  # type: ignore[arg-type]


def _image(model: HubModel, size: int) -> Tensor:
    shape = model.size or (size, size)
    return torch.zeros(2, 3, *shape, device=model.mean.device)  # batch norm wants two


def _inference(model: HubModel, size: int) -> float:
    made: list[int] = []

    def count(_: nn.Module, __: tuple[Tensor, ...], out: Tensor) -> None:
        made.append(out.numel())

    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    hooks = [norm.register_forward_hook(count) for norm in norms]
    try:
        image = _image(model, size)
        products = multiply_adds(model, image)
    finally:
        for hook in hooks:
            hook.remove()
    return (products + 2 * sum(made)) / len(image)


def _training(network: nn.Module, like: HubModel, size: int) -> float:
    image = _image(like, size)
    with FlopCounterMode(display=False) as counter:
        network(image).sum().backward()
    network.zero_grad(set_to_none=True)
    return counter.get_total_flops() / 2 / len(image)
