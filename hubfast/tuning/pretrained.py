"""A pre-trained model with a new head, fed with images in [0, 1]."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from hubfast.hub import Network, Source
from hubfast.hub.transformers.classifier import load_image_classifier, model_name
from hubfast.nn.heads import find_classifier, start_head
from hubfast.nn.hooks import eval_mode
from hubfast.nn.normalization import normalized
from hubfast.nn.resize import resized
from hubfast.tuning.headed import HeadedModel
from hubfast.tuning.pixel_model import PixelModel
from hubfast.utils.moved import moved, renamed, renamed_attributes


@renamed_attributes(deviation="std")
class TransferModel(HeadedModel):
    """Normalisation and resizing, the model without its classifier, and a new linear head.

    `forward(images)` gives logits `(B, outputs)`; `features(images)` gives what the head sees,
    `(B, D)`.

    Args:
        model: Maps `(B, 3, h, w)` to the output of an `nn.Linear`, which is taken off, or to
            features `(B, D)`. It is changed in place.
        outputs: Width of the new head: classes, or regression columns.
        example: A batch of the data's images, `(b, 3, H, W)`: run once to find the classifier.
        mean: What the model subtracts from each channel.
        std: What it then divides each channel by.
        size: Height and width that the model wants; None: whatever comes.
        shift: What is added to the scaled head's output, `(outputs,)`, so that a regression head
            starts at the targets' mean; None for nothing.
        scale: What the head's output is multiplied by, `(outputs,)`, such as the targets' unit;
            None for nothing.

    Raises:
        ValueError: The model returns neither a classifier's output nor features.
    """

    @renamed(deviation="std")
    def __init__(
        self,
        model: nn.Module,
        outputs: int,
        example: Tensor,
        *,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        size: tuple[int, int] | None = None,
        shift: Tensor | None = None,
        scale: Tensor | None = None,
    ):
        super().__init__()
        self.size = size
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
        prepared = self.prepare(example)
        self.place, classifier = find_classifier(model, prepared)
        if classifier is not None:
            model.set_submodule(self.place, nn.Identity())
        self.model = model
        known = getattr(model, "trained_head", True)
        self.source_head = (classifier if known else None,)  # in a tuple: not a part of this module
        self.width = _width(model, prepared)
        head = nn.Linear(self.width, outputs)
        start_head(head)
        self.put_head(head, shift, scale)

    def prepare(self, images: Tensor) -> Tensor:
        """Images in [0, 1], of any size, as the model wants them."""
        return normalized(resized(images, self.size), self.mean, self.std)

    def features(self, samples: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> `(B, D)`."""
        return self.model(self.prepare(samples))

    def export(self) -> nn.Module:
        """A copy of the plain model, head in the old classifier's place, for normalised input."""
        model, head = copy.deepcopy(self.model), self.plain_head()
        if not self.place:
            return nn.Sequential(model, head)
        model.set_submodule(self.place, head)
        timm: Any = model
        if hasattr(timm, "num_classes"):
            timm.num_classes = head.out_features
        if isinstance(config := getattr(timm, "pretrained_cfg", None), dict):
            timm.pretrained_cfg = {**config, "num_classes": head.out_features}
        return model.eval()


def from_source(source: Source, outputs: int, example: Tensor, **options: Any) -> TransferModel:
    """A fresh copy of a hub's model, to be tuned; arguments as in `TransferModel`.

    Raises:
        TypeError: It cannot be trained: stored features, or a callable that is no nn.Module.
        ValueError: Its preprocessing is not resizing and normalisation by channel.
    """
    module, transform = loaded(source)
    if transform is not None:
        mean, std, size = preprocessing(transform)
        options = {"mean": mean, "std": std, "size": size, **options}
    # A copy: a module that the user gave is loaded as itself, each time.
    return TransferModel(copy.deepcopy(module), outputs, example, **options)


def loaded(source: Source) -> tuple[nn.Module, Callable[[Any], Tensor] | None]:
    """The module of a hub's model, and its transform of images, if it has one.

    Raises:
        TypeError: It cannot be trained: stored features, or a callable that is no nn.Module; a
            transformers model that is no classifier of images.
    """
    if source.kind == "hf":
        found = load_image_classifier(model_name(source), source.loading)
        return PixelModel(found.model, trained_head=not found.fresh), found.transform
    network = source.load()
    if not isinstance(network, Network) or not isinstance(network.run, nn.Module):
        raise TypeError(f"hub model {source.name!r} must be an nn.Module to be tuned")
    return network.run, network.transform


def preprocessing(
    transform: Callable[[Any], Tensor],
) -> tuple[list[float], list[float], tuple[int, int] | None]:
    """Mean, std and size that an image transform normalises with, found by using it.

    The size is None if it depends on the image's.

    Raises:
        ValueError: The transform is not `(x - mean) / std` on plain grey images.
    """
    levels = (0, 51, 255)  # 51 / 255 = 0.2
    black, grey, white = (transform(Image.new("RGB", (64, 64), (v, v, v))) for v in levels)
    low, high = (x.double().flatten(1).mean(1) for x in (black, white))
    wanted = low + 0.2 * (high - low)
    if black.ndim != 3 or not torch.allclose(grey.double().flatten(1).mean(1), wanted, atol=1e-3):
        raise ValueError("transform must resize, crop and normalise by channel, nothing else")
    std = 1 / (high - low)
    mean = -low * std
    fixed = black.shape == transform(Image.new("RGB", (96, 80))).shape
    return mean.tolist(), std.tolist(), (black.shape[1], black.shape[2]) if fixed else None


@torch.no_grad()
def _width(model: nn.Module, inputs: Tensor) -> int:
    with eval_mode(model):
        out = model(inputs)
    if not isinstance(out, Tensor) or out.ndim != 2:
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(f"model must return a classifier's output or features (B, D), got {got}")
    return out.shape[1]


# Also what a `model.pt` that was written before calls it.
__getattr__ = moved(__name__, {"Pretrained": "hubfast.tuning.pretrained.TransferModel"})
