"""What rankings are measured on: small timm models of several geometries, and JPEGs like photos."""

import functools
from pathlib import Path

import numpy as np
from PIL import Image

# Of 10 geometries: side, share of the crop, interpolation.
MODELS = (
    "mobilenetv3_large_100",  # 224, 0.875, bicubic
    "resnet18",  # 224, 0.95, bicubic
    "tinynet_a",  # 192, 0.875, bicubic
    "hardcorenas_a",  # 224, 0.875, bilinear
    "deit_tiny_patch16_224",  # 224, 0.9, bicubic
    "regnety_004",  # 224, 0.965, bicubic
    "mobilevitv2_050",  # 256, 0.888, bicubic
    "efficientnet_b0",  # 224, 0.875, bicubic
    "resnet14t",  # 176, 0.875, bicubic
    "edgenext_xx_small",  # 256, 0.9, bicubic
    "convnext_atto",  # 224, 0.875, bicubic
    "test_resnet",  # 160, 0.95, bilinear
)
CLASSES, SEED = 10, 0
WIDTH, HEIGHT, QUALITY = 500, 375, 88
CLASS_SHARE = 0.35  # of the amplitude that a class has in common


def write_images(folder: Path, count: int) -> Path:
    """Writes `count` JPEGs of 500 x 375 in a folder a class; files that are there stay.

    Noise whose amplitude falls with the frequency, as that of photographs does, and that has a
    part in common within a class. Each image depends on its own number alone.
    """
    for number in range(count):
        write_image(folder, number)
    return folder


def write_image(folder: Path, number: int) -> None:
    """Writes the JPEG of that number, unless it is there."""
    path = folder / f"class_{number % CLASSES}" / f"{number:06d}.jpg"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = _noise(np.random.default_rng([SEED, 1, number]))
    image = CLASS_SHARE * _of_class(number % CLASSES) + (1 - CLASS_SHARE) * noise
    pixels = (128 + 60 * image).clip(0, 255).astype(np.uint8)
    part = path.with_suffix(".part")
    Image.fromarray(pixels).save(part, "JPEG", quality=QUALITY)
    part.rename(path)


@functools.cache
def _of_class(label: int) -> np.ndarray:
    return _noise(np.random.default_rng([SEED, label]))


def _noise(rng: np.random.Generator) -> np.ndarray:
    """Colour noise `(height, width, 3)` of mean 0 and variance 1."""
    frequencies = np.hypot(
        np.fft.fftfreq(HEIGHT)[:, None] * HEIGHT, np.fft.rfftfreq(WIDTH)[None] * HEIGHT
    )
    amplitude = 1 / np.maximum(frequencies, 1) ** 1.4
    shape = (3, *amplitude.shape)
    waves = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * amplitude
    waves[1:] = 0.8 * waves[:1] + 0.4 * waves[1:]  # channels of photographs go together
    image = np.fft.irfft2(waves, s=(HEIGHT, WIDTH)).transpose(1, 2, 0)
    image -= image.mean((0, 1))
    return image / image.std()
