"""Modules made ready to run and no longer to train: norms folded, convolutions channels last."""

from typing import Any

import torch
from torch import Tensor, nn

from hubfast.nn.folding import CONVOLUTIONS, fold_norms, is_of
from hubfast.nn.image_config import image_config

# On a CPU, a batch of 8 takes about an eighth longer per image than one of 32, and one of 64 at
# most 6 % less, for twice the memory (benchmarks/bench_forward.py). No GPU was measured so far.
BATCH_ON_CPU, BATCH_ON_GPU = 32, 64


def default_batch_size(device: str | torch.device) -> int:
    """Samples per forward pass where the user says nothing: fixed, as results may hang on it."""
    return BATCH_ON_CPU if torch.device(device).type == "cpu" else BATCH_ON_GPU


def for_inference(
    module: nn.Module, images: Tensor | None = None, *, channels_last: bool = True
) -> nn.Module:
    """Makes `module` faster in eval mode, in place, and returns it; it must not be trained after.

    - A BatchNorm that takes the output of a convolution is folded into it where nothing else sees
      that output (`hubfast.nn.folding`). Features stay the same to the rounding of their type.
      Names of the module's state change.
    - The weights of 2D convolutions are put in channels-last order, which their outputs follow,
      where the module runs with such outputs: some take a `view` of theirs that then is none.

    The module alone decides what is done, never a clock: features are bit-equal in every run on
    like hardware. Count its parameters before: those of the folded norms are gone after.

    Args:
        module: One that hubfast has loaded, never one that its user keeps.
        images: An input that it takes, of two images or more, in its dtype and on its device. None
            for even ones of the size in timm's configuration; a module without that is then left
            as it is, but for its mode.
        channels_last: Whether the weights of 2D convolutions are put in that order.

    Raises:
        Exception: Whatever the module raises when it runs on `images`.
    """
    module.eval()
    if images is None and getattr(module, "pretrained_cfg", None):
        images = _even(module)
    if images is not None:
        fold_norms(module, images)
        if channels_last:
            _put_channels_last_if_it_runs(module, images)
    return module


def put_channels_last(module: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Puts the weights of 2D convolutions in channels-last order, which their outputs follow.

    A module that has but one is left: it cuts a transformer's patches.

    Returns:
        Each of these weights, and its data in the order before.
    """
    convs: list[Any] = [part for part in module.modules() if is_of(part, CONVOLUTIONS)]
    weights = [conv.weight for conv in convs if conv.weight.ndim == 4]
    if len(weights) < 2:
        return []
    before = [(weight, weight.data) for weight in weights]
    for weight in weights:
        # Not `contiguous`, which leaves 1 x 1 kernels in an order that says nothing.
        ordered = torch.empty_like(weight.data, memory_format=torch.channels_last)
        weight.data = ordered.copy_(weight.data)
    return before


@torch.no_grad()
def _put_channels_last_if_it_runs(module: nn.Module, images: Tensor) -> None:
    before = put_channels_last(module)
    if not before:
        return
    try:
        module(images)
    except RuntimeError:  # with the usual order it has just run, or says itself what is wrong
        for weight, data in before:
            weight.data = data


def _even(module: nn.Module) -> Tensor:
    """Two grey images in the size that a timm module was built for."""
    weight = next(module.parameters())
    size = image_config(module)["input_size"]
    return torch.zeros(2, *size, dtype=weight.dtype, device=weight.device)
