"""Resizing of image batches on their device: in float32, whatever the precision around it."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def resized(images: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Images in another size, bilinear with antialiasing.

    Half-precision images are resized in float32 and returned in their own type: torch resizes
    none on the CPU, and on a GPU their weights would be rounded.

    Args:
        images: `(B, C, H, W)`, floating point.
        size: Height and width; None, or the size that they have, returns them as they are.
    """
    if size is None or images.shape[-2:] == size:
        return images
    exact = images.float() if images.dtype in (torch.float16, torch.bfloat16) else images
    return interpolate(exact, size, mode="bilinear", antialias=True).to(images.dtype)
