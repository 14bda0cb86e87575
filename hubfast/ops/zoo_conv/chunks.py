"""How many samples a GPU convolves at a time, so that their mixed weights stay in its L2 cache."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hubfast.ops.choices import choices

CHUNKS = (0, 4, 8, 16, 32, 64)  # samples per chunk worth measuring; 0 stands for all of them
BANDWIDTH = 3.0e12  # bytes per second of an H100's memory, by arithmetic
LAUNCH = 4e-6  # seconds that one more launch takes on the host, by arithmetic
TILE = 64  # pixels, and output channels, of a program that fills tensor cores

Pass = Literal["forward", "backward"]


class Device(NamedTuple):
    """What the rule asks of a GPU; an H100's numbers stand in where there is none."""

    cache: int = 50 * 2**20  # bytes of L2
    multiprocessors: int = 132

    @classmethod
    def of(cls, device: torch.device) -> "Device":
        """The numbers of a tensor's device."""
        if device.type != "cuda":
            return cls()
        found = torch.cuda.get_device_properties(device)
        return cls(found.L2_cache_size, found.multi_processor_count)


class Layer(NamedTuple):
    """What decides on chunks."""

    samples: int
    models: int
    out_channels: int
    patch: int  # weights per output channel, I h w
    pixels: int  # of a sample's output
    mixed_bytes: int  # of a mixed weight
    weight_bytes: int  # of a model's weight

    @classmethod
    def of(cls, x: Tensor, weights: Tensor, pixels: int) -> "Layer":
        """The layer of `x` `(B, I, h, w)` and `weights` `(M, O, I, h, w)`."""
        models, out = weights.shape[:2]
        patch = weights.shape[2:].numel()
        sizes = x.element_size(), weights.element_size()
        return cls(len(x), models, out, patch, pixels, *sizes)


def chunk_key(layer: Layer, direction: Pass) -> str:
    """The layer's entry in the table `"chunks"` of measured choices."""
    return f"{direction} {'x'.join(map(str, layer[:5]))} {layer.mixed_bytes}"


def chunk_of(layer: Layer, direction: Pass, device: torch.device) -> int:
    """Samples per chunk: as measured on this GPU, or else by `rule`."""
    measured = choices(device, "chunks").get(chunk_key(layer, direction))
    if measured is None:
        return rule(layer, direction, Device.of(device))
    return int(measured) or layer.samples


def rule(layer: Layer, direction: Pass, device: Device) -> int:
    """Samples per chunk by arithmetic: all of them unless chunks win.

    Mixed weights take a write and a read, and their gradients take another two. Two fifths of the
    cache keep them, since inputs and results pass through it as well, where a chunk of them fits
    beside the models' weights, which each chunk reads again, and backward beside the sum of these
    weights' gradients. A chunk must have a program of 64 x 64 results for every multiprocessor.
    What its memory traffic would have taken must be more than the chunks' launches take on the
    host: a mix and a convolution forward; backward a mix, two convolutions, the gradients of the
    mix and a sum.

    Example, an H100 and 5 models in bfloat16, with 21 MB to keep: of a ResNet-50's 3x3 convolution
    with 256 channels, 48 samples have 57 MB of mixed weights, and 7 samples' fit beside the models'
    12 MB, whose 112 programs would leave multiprocessors idle: no chunks. Of the one with 128
    channels on 28 x 28 pixels, 128 samples have 38 MB and 61 fit: 3 chunks of 43, since 25 us of
    traffic forward are more than 16 us of launches.
    """
    samples, size = layer.samples, layer.out_channels * layer.patch
    each, kept = size * layer.mixed_bytes, layer.models * size * layer.weight_bytes
    room, passes, launches = device.cache * 2 // 5, 2, 2
    if direction == "backward":
        kept, passes, launches = 2 * kept, 4, 5
    if samples * each <= room:
        return samples
    fits = (room - kept) // each
    programs = -(-layer.pixels // TILE) * -(-layer.out_channels // TILE)
    if fits * programs < device.multiprocessors:
        return samples
    count = -(-samples // fits)
    saved = passes * samples * each / BANDWIDTH
    return -(-samples // count) if saved > (count - 1) * launches * LAUNCH else samples
