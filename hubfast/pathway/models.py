"""Models of a hub that run on one batch of images, each in its own size and normalisation."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hubfast.nn.image_config import image_config
from hubfast.nn.resize import resized
from hubfast.utils.moved import moved

__getattr__ = moved("hubfast.pathway.models", {"Views": "hubfast.pathway.models.ResizedBatch"})

Statistics = Sequence[float]
Size = tuple[int, int]


class HubModel(nn.Module):
    """A model with its own preprocessing.

    Args:
        module: Maps normalised images `(b, 3, height, width)` to `(b, outputs)`.
        name: What reports call it.
        size: Height and width of its images, or one number for both; None takes any.
        mean: What is subtracted from the three channels of images in [0, 1].
        std: What the channels are then divided by.
        recipe: Arguments of `timm.create_model` with which `load` builds it again; found by
            itself for modules that timm's defaults reproduce.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str | None = None,
        size: int | Size | None = None,
        mean: Statistics = (0.0, 0.0, 0.0),
        std: Statistics = (1.0, 1.0, 1.0),
        recipe: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.module = module
        self.name = name or type(module).__name__
        self.size: Size | None = (size, size) if isinstance(size, int) else size
        self.recipe = recipe
        self.frozen = False
        for label, values in (("mean", mean), ("std", std)):
            if len(values) != 3:
                raise ValueError(f"{label} must hold 3 numbers, one a channel, got {values}")
            column = torch.tensor(values, dtype=torch.float32)[:, None, None]
            self.register_buffer(label, column, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs `(b, outputs)` of images in [0, 1] that already have the model's size."""
        return self.module(self.normalised(images))

    def normalised(self, images: Tensor) -> Tensor:
        """The images as the module takes them."""
        return torch.addcmul(-self.mean / self.std, images, 1 / self.std)

    def features(self, images: Tensor) -> Tensor:
        """What the head reads, `(b, width)`.

        Raises:
            TypeError: The module does not tell its backbone from its head as timm's do.
        """
        self._check_split()
        maps = self.module.forward_features(self.normalised(images))  # type: ignore[operator]
        return self.module.forward_head(maps, pre_logits=True)  # type: ignore[operator]

    @property
    def head(self) -> nn.Module:
        """The last layer, from features to outputs."""
        self._check_split()
        return self.module.get_classifier()  # type: ignore[operator]

    def _check_split(self) -> None:
        for method in ("forward_features", "forward_head", "get_classifier"):
            if not hasattr(self.module, method):
                raise TypeError(
                    f"{self.name} must have {method}(), as timm models do, to split off its head"
                )

    def freeze(self) -> None:
        """Leaves only the head to training; batch norm keeps its running statistics."""
        head = self.head
        self.module.requires_grad_(False)
        head.requires_grad_(True)
        self.frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> "HubModel":
        super().train(mode)
        if self.frozen:
            self.module.eval()
        return self

    def extra_repr(self) -> str:
        return f"{self.name!r}, size={self.size}"


def hub_models(
    models: Sequence[nn.Module] | Mapping[str, nn.Module], classes: int | None
) -> list[HubModel]:
    """The models of a hub, their names made unique.

    Args:
        models: timm models, which bring size and normalisation; HubModels; other modules, which
            take the images as they are.
        classes: New heads of so many outputs for timm models, 0 for none; None keeps theirs.
    """
    named = list(models.items()) if isinstance(models, Mapping) else [(None, m) for m in models]
    if not named:
        raise ValueError("models must hold at least one model")
    found: list[HubModel] = []
    for name, model in named:
        if not isinstance(model, nn.Module):
            raise TypeError(f"models must hold nn.Modules, got {type(model).__name__}")
        found.append(_hub_model(model, name, classes))
    seen: dict[str, int] = {}
    for model in found:
        seen[model.name] = count = seen.get(model.name, 0) + 1
        if count > 1:
            model.name = f"{model.name} ({count})"
    return found


def _hub_model(model: nn.Module, name: str | None, classes: int | None) -> HubModel:
    inner = model.module if isinstance(model, HubModel) else model
    if classes is not None and hasattr(inner, "reset_classifier"):
        inner.reset_classifier(classes)  # type: ignore[operator]
    if isinstance(model, HubModel):
        model.name = name or model.name
        return model
    if not hasattr(model, "pretrained_cfg"):
        return HubModel(model, name=name)
    config = image_config(model)
    size = config["input_size"][1:]
    name = name or model.pretrained_cfg.get("architecture")  # type: ignore[operator, union-attr]
    return HubModel(model, name=name, size=size, mean=config["mean"], std=config["std"])


class ResizedBatch:
    """A batch of images in the sizes that models ask for, each made once.

    Args:
        images: `(B, 3, height, width)` in [0, 1].
    """

    def __init__(self, images: Tensor):
        self.images = images
        self._known: dict[Size, Tensor] = {(images.shape[2], images.shape[3]): images}

    def of(self, size: Size | None) -> Tensor:
        """The batch in that size, bilinear with antialiasing; None: as it came."""
        if size is None:
            return self.images
        if size not in self._known:
            self._known[size] = resized(self.images, size)
        return self._known[size]


@contextmanager
def running_statistics(module: nn.Module, active: bool) -> Iterator[None]:
    """While `active`, batch norms use and keep their running statistics, as in eval mode."""
    norms = [
        m
        for m in (module.modules() if active else ())
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training
    ]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
