"""Which form of `zoo_conv` a layer takes, from its shapes."""

from collections.abc import Sequence
from math import prod

from hubfast.functional.zoo_conv import Form

# What a mixed weight costs besides its products, in multiply-adds: it is written and read. So the
# mix loses to M-fold products where (M - 1) pixels are fewer. Measured by benchmarks/bench_zoo.py
# on a CPU; arithmetic, not yet measured, on a GPU.
TRAFFIC = {"cpu": 100, "cuda": 190}


def plan(
    samples: int,
    models: int,
    weight: Sequence[int],
    pixels: int,
    *,
    groups: int = 1,
    aligned: bool = False,
    device: str = "cpu",
) -> Form:
    """The form with the fewest multiply-adds, traffic counted as such.

    Args:
        samples: B.
        models: M.
        weight: Of one model, `(O, I / groups, ...)`.
        pixels: Of a sample's output.
        groups: Of the convolution.
        aligned: Whether the weights are channel-aligned first: `"separate"` can align the
            results instead, which costs less than aligning kernels where pixels are few.
        device: Type of the device.
    """
    if groups > 1 or samples == 1:
        return "mix"
    traffic = TRAFFIC.get(device, TRAFFIC["cuda"])
    few = (models - 1) * pixels < traffic
    form: Form = "concatenate" if few else "mix"
    if not aligned:
        return form
    size, channels = prod(weight), weight[0]
    products = models * pixels if few else pixels + traffic  # a weight and sample
    on_kernels = samples * size * products + models * channels * size
    on_results = samples * models * pixels * (size + channels**2)
    return "separate" if on_results < on_kernels else form
