"""How a model wants its images, for files that hold no torch module to say so.

A configuration has timm's keys: `input_size` (a side, [height, width] or [3, height, width]),
`mean` and `std` of the channels of images in [0, 1], `interpolation`, `crop_pct`, `crop_mode`.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hubfast.utils.defaults import usual_defaults
from hubfast.utils.documents import WRITTEN, read_json, read_table
from hubfast.utils.extras import require, slow_import

NEEDED = ("input_size", "mean", "std")
KNOWN = (*NEEDED, "interpolation", "crop_pct", "crop_mode")
RAW = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255,) * 3}  # gives pixels in 0..255
UNIT = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # gives pixels in 0..1
Transform = Callable[[Any], Tensor]


def image_transform(config: Mapping[str, Any], size: tuple[int, int] | None = None) -> Transform:
    """Makes what turns a PIL image into the tensor `(3, height, width)` that `config` describes.

    Without `crop_pct` the shorter side is resized to the input size, so that nothing is cut off
    but what exceeds its shape.

    Args:
        config: A configuration; see the top of this file.
        size: Height and width that the model takes, where `config` has no `input_size`.

    Raises:
        ValueError: `config` has unknown keys, or lacks some.
    """
    if size is not None:
        config = {"input_size": size, **config}
    unknown = sorted(set(config) - {*KNOWN})
    missing = [key for key in NEEDED if key not in config]
    if unknown or missing:
        raise ValueError(
            f"preprocessing must have {list(NEEDED)}, may have {list(KNOWN[3:])}; "
            f"got unknown {unknown}, missing {missing}"
        )
    side = config["input_size"]
    height, width = (side, side) if isinstance(side, int) else tuple(side)[-2:]
    chosen: dict[str, Any] = {"crop_pct": 1.0, "interpolation": "bicubic", **config}
    chosen["input_size"] = (3, int(height), int(width))
    return TimmTransform(chosen)


class TimmTransform:
    """timm's evaluation transform, which says what it was made from.

    Args:
        config: Arguments of `timm.data.create_transform`. With an `input_size` of one channel,
            images become grey.
    """

    def __init__(self, config: Mapping[str, Any]):
        self.config = dict(config)
        self._normalised = self._made(normalize=True)
        self._pixels = self._made(normalize=False)

    def __call__(self, image: Any) -> Tensor:
        """The model's input, `(3, height, width)`, or `(1, height, width)` of a grey one."""
        with usual_defaults():  # torchvision makes pixels of the default dtype
            return self._normalised(self._coloured(image))

    def pixels(self, image: Any) -> Tensor:
        """The image resized and cropped but not normalised, as uint8 of the same shape."""
        return self._pixels(self._coloured(image))

    def normalised(self, pixels: Tensor) -> Tensor:
        """What the transform makes of images, from their `pixels`: to the last bit the same.

        Args:
            pixels: uint8 `(n, channels, height, width)`, on any device.
        """
        made = pixels.to(torch.float32).div_(255)
        step = self._normalised.transforms[-1]
        mean, std = (
            torch.as_tensor(values, dtype=made.dtype, device=made.device).view(-1, 1, 1)
            for values in (step.mean, step.std)
        )
        return made.sub_(mean).div_(std)

    @property
    def geometry(self) -> tuple[tuple[str, str], ...]:
        """Equal for transforms that resize and crop alike, whatever their mean and std."""
        values = {
            key: tuple(value) if isinstance(value, list) else value  # as JSON has it
            for key, value in self.config.items()
            if key not in ("mean", "std")
        }
        return tuple(sorted((key, repr(value)) for key, value in values.items()))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what it makes."""
        size = self.config.get("input_size", 224)
        sizes = (3, size, size) if isinstance(size, int) else (3, *size)[-3:]
        channels, height, width = sizes
        return channels, height, width

    def _coloured(self, image: Any) -> Any:
        return image.convert("L") if self.config.get("input_size", (3,))[0] == 1 else image

    def _made(self, *, normalize: bool) -> Any:
        create = slow_import("timm.data").create_transform
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about training-only transforms
            return create(**self.config, is_training=False, normalize=normalize)


def transform_of_file(
    path: Path,
    given: Mapping[str, Any] | None = None,
    own: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
) -> Transform | None:
    """Finds the preprocessing of the model in `path`: the first of these that there is, else None.

    1. `given`, by the user; 2. `own`, kept in the file itself; 3. `NAME.json` beside it;
    4. timm's `config.json`, and 5. transformers' `preprocessor_config.json`, in its folder.

    Args:
        path: The model's file or folder.
        given: The configuration that the user gives; see the top of this file.
        own: The configuration that the file itself holds.
        size: Height and width that the model takes, where that is fixed.
    """
    folder = path if path.is_dir() else path.parent
    for config in (given, own, _json(path.with_suffix(".json")), _timm(folder / "config.json")):
        if config is not None:
            return image_transform(config, size)
    if (folder / "preprocessor_config.json").exists():
        return processor_transform(str(folder))
    return None


def advice(path: str | Path) -> str:
    """A sentence on how to give the preprocessing of the model in `path`."""
    return (
        f"preprocessing: {{input_size: 224, mean: [...], std: [...]}} of {path} in a hub file, "
        f"or a file {Path(path).stem}.json beside it with these keys"
    )


def processor_transform(folder: str, trust: bool = False) -> Transform:
    """What the image processor of transformers does that `folder`, or a name, configures."""
    transformers = require("transformers", "transformers", f"{folder}/preprocessor_config.json")
    processor = transformers.AutoImageProcessor.from_pretrained(folder, trust_remote_code=trust)
    return _Processor(processor)


class _Processor:
    """A class, not a closure, because worker processes must be able to receive it."""

    def __init__(self, processor: Any):
        self.processor = processor

    def __call__(self, image: Any) -> Tensor:
        return self.processor(image, return_tensors="pt")["pixel_values"][0]


def _json(path: Path) -> Any:
    return read_json(path, WRITTEN) if path.exists() else None


def _timm(path: Path) -> Mapping[str, Any] | None:
    config = (read_table(path, WRITTEN) if path.exists() else {}).get("pretrained_cfg")
    return None if config is None else {key: config[key] for key in KNOWN if key in config}
