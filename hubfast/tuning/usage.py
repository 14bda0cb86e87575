"""How a saved model is used: what it takes, and the code that loads it and prepares an image."""

import pickle
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from hubfast.hub.preprocessing import KNOWN, TimmTransform
from hubfast.tuning.framing import Framing, Size

IMPORTS = {
    "timm": "import timm",
    "torch": "import torch",
    "transformers": "import transformers",
    "v2": "from torchvision.transforms import v2",
}
Loads = Literal["timm", "torch", "transformers"]
LOAD: dict[Loads, str] = {
    "timm": 'model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()',
    "torch": 'model = torch.load("FOLDER/model.pt", weights_only=False).eval()',
    "transformers": (
        'model = transformers.AutoModelForImageClassification.from_pretrained("FOLDER").eval()'
    ),
}
FROM_CONFIG = "timm.data.create_transform(**timm.data.resolve_model_data_config(model))"
LOAD_TRANSFORM = 'torch.load("FOLDER/transform.pt", weights_only=False)'
FOUND = "...  # the transform that the base model was given: it could not be saved"


@dataclass(frozen=True)
class Input:
    """What a saved module takes: images as evaluation prepared them, step by step.

    Args:
        framing: Resizing and cropping.
        size: Size that the tuned model itself resized to; None if it did not resize.
        normalisation: Mean and std of the channels, which the tuned model applied itself and the
            saved module does not; None if it does.
    """

    framing: Framing
    size: Size | None
    normalisation: tuple[Sequence[float], Sequence[float]] | None

    @classmethod
    def of(cls, tuned: nn.Module, framing: Framing) -> "Input":
        """What the saved form of a tuned module takes.

        Args:
            tuned: The module. If it has `export()`, that leaves out resizing and normalisation.
            framing: How images came to the size that it was tuned on.
        """
        if not hasattr(tuned, "export"):
            return cls(framing, None, None)
        model: Any = getattr(tuned, "deployed", tuned)
        mean, std = (x.flatten().tolist() for x in (model.mean, model.std))
        size = None if model.size == framing.size else model.size
        return cls(framing, size, _as_written(framing, mean, std))

    @property
    def config(self) -> dict[str, Any] | None:
        """Arguments of timm's create_transform, if that alone does all of it."""
        transform = self.framing.transform
        if not isinstance(transform, TimmTransform) or self.size or self.normalisation is None:
            return None
        mean, std = self.normalisation
        return {**_known(transform), "mean": tuple(mean), "std": tuple(std)}

    @property
    def own(self) -> Any:
        """The transform that has to be saved beside the module: one that is not timm's."""
        transform = self.framing.transform
        return None if isinstance(transform, TimmTransform) else transform

    @property
    def storable(self) -> bool:
        """Whether `own` can be saved; a function that was made inside another cannot."""
        try:
            pickle.dumps(self.own)
        except (pickle.PicklingError, AttributeError, TypeError):
            return False
        return True

    @property
    def processors(self) -> list[Callable[[Path], object]]:
        """What writes the image processor of transformers, if that alone does all of it."""
        processor: Any = getattr(self.framing.transform, "processor", None)
        alone = self.size is None and self.normalisation is not None
        return [processor.save_pretrained] if processor is not None and alone else []

    def code(self, loads: Loads) -> str:
        """Python that gives `model`, and `transform` from an image to the model's input.

        Args:
            loads: What loads the saved module; timm and transformers read `config.json`.
        """
        by_timm = loads == "timm" and self.config is not None
        steps = [FROM_CONFIG] if by_timm else self._steps()
        if len(steps) == 1:
            transform = steps[0]
        else:
            inner = "".join(f"{textwrap.indent(step, ' ' * 8)},\n" for step in steps)
            transform = f"v2.Compose(\n    [\n{inner}    ]\n)"
        lines = [LOAD[loads], f"transform = {transform}"]
        used = "\n".join(lines)
        imports = [line for name, line in IMPORTS.items() if f"{name}." in used]
        return "\n".join([*imports, "", *lines])

    def _steps(self) -> list[str]:
        """Expressions of the transforms, one after the other."""
        transform, found = self.framing.transform, []
        if self.config is not None:
            return [_call("timm.data.create_transform", self.config)]
        if isinstance(transform, TimmTransform):
            found = [_call("timm.data.create_transform", {**_known(transform), "normalize": False})]
            found += ["v2.ToDtype(torch.float32, scale=True)"]
        elif transform is not None:
            found = [LOAD_TRANSFORM if self.storable else FOUND]
            if self.size is None and self.normalisation is not None:
                return found
            mean, std = self.framing.mean, self.framing.std
            back = [-m / s for m, s in zip(mean, std, strict=True)], [1 / s for s in std]
            found += [_normalize(*back)]
        if self.size is not None:
            found += [f"v2.Resize({self.size}, antialias=True)"]
        if self.normalisation is not None:
            found += [_normalize(*self.normalisation)]
        return found or ["v2.Identity()"]


def _known(transform: TimmTransform) -> dict[str, Any]:
    """Arguments that make this transform, without those that only training needs."""
    return {key: transform.config[key] for key in KNOWN if key in transform.config}


def _as_written(framing: Framing, mean: list[float], std: list[float]) -> tuple[Any, Any]:
    """Mean and std with the digits that the transform writes them with, if they are its own."""
    if isinstance(framing.transform, TimmTransform):
        own = [tuple(framing.transform.config[key]) for key in ("mean", "std")]
        if np.allclose(own, [mean, std], atol=1e-6):
            return own[0], own[1]
    return mean, std


def _normalize(mean: Sequence[float], std: Sequence[float]) -> str:
    return f"v2.Normalize(mean={list(mean)}, std={list(std)})"


def _call(name: str, options: Mapping[str, Any]) -> str:
    return f"{name}(\n" + "".join(f"    {k}={v!r},\n" for k, v in options.items()) + ")"
