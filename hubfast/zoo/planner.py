"""Which form of `zoo_conv` a layer takes, from its shapes."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch

from hubfast.ops.choices import choices
from hubfast.ops.zoo_conv.op import Form


class Costs(NamedTuple):
    """What a device's forms cost besides the multiply-adds of one convolution per sample."""

    traffic: float  # to write and read a mixed weight, in multiply-adds
    product: float  # of a multiply-add in M-fold products, which move M times the pixels


# CPU, without and with the native core, which mixes weights in cache: from the forms of a 3x3
# layer, 512 channels, 7x7 pixels, M = 5, on two cores of an AMD EPYC.
# CUDA: arithmetic for an H200 in bfloat16, where this GPU was not measured.
COSTS = {"cpu": Costs(100, 1.1), "native": Costs(30, 1.1), "cuda": Costs(190, 1.0)}

# Of input channels, a GPU's kernels for one sample's own weights take 16 at a time, load fewer one
# by one, and read the output's gradient again for each tap. A 7x7 stem of 3 channels takes 0.57 ms
# of a training step for 48 images by the instructions of its machine code, and its 15 gated
# channels in one plain convolution take 0.46. This is arithmetic, not measured yet.
NARROW, MOST_JOINED = 16, 128
DIMENSIONS = 4  # of the weights that the Triton kernels take


def plan(
    samples: int,
    models: int,
    weight: Sequence[int],
    pixels: int,
    *,
    groups: int = 1,
    aligned: bool = False,
    device: str = "cpu",
    native: bool = False,
    recompute: bool = True,
) -> Form:
    """The form with the fewest multiply-adds, traffic counted as such.

    Args:
        samples: B, the size of the batch.
        models: M, whose weights are mixed.
        weight: Shape of one model's weight, `(O, I / groups, ...)`.
        pixels: How many a sample's output has.
        groups: Groups of the convolution.
        aligned: Whether the weights are channel-aligned first: `"separate"` can align the
            results instead, which costs less than aligning kernels where pixels are few.
        device: Type of the device.
        native: Whether the native core is there for a CPU.
        recompute: Whether a GPU mixes weights again in backward, and keeps none until then. Those
            of layers that no kernel of ours convolves are mixed again in any case.
    """
    if groups > 1 or samples == 1:
        return "mix"
    if device == "cuda" and weight[1] < NARROW and models * weight[1] <= MOST_JOINED:
        return "concatenate"
    kept = not recompute and device == "cuda" and len(weight) == DIMENSIONS
    costs = _costs("native" if native and device == "cpu" else device)
    # Of each weight, for each sample.
    together, apart = models * pixels * costs.product, pixels + costs.traffic
    form: Form = "concatenate" if together < apart else "keep" if kept else "mix"
    if not aligned:
        return form
    size, channels = prod(weight), weight[0]
    on_kernels = samples * size * min(together, apart) + models * channels * size
    on_results = samples * together * (size + channels**2)
    return "separate" if on_results < on_kernels else form


def _costs(device: str) -> Costs:
    """What was measured on this GPU, or else `COSTS`, which torch.compile takes in any case.

    It traces this, and cannot read files.
    """
    default = COSTS.get(device, COSTS["cuda"])
    if device != "cuda" or torch.compiler.is_compiling() or not torch.cuda.is_available():
        return default
    return default._replace(**choices(device, "plan"))
