"""What a measurement of the suite is, and how large it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Say = Callable[..., None]  # takes the fields of a row


@dataclass(frozen=True)
class Sizes:
    """How large the measurements are; the defaults are those of the claims."""

    network: str = "resnet50"  # timm's
    models: int = 5
    batch: int = 48
    pixels: int = 224
    classes: int = 100
    active: int = 2  # models per sample of Hub-Pathway
    channels: int = 512  # of the layer whose forms are compared
    mixed: int = 32 * 2**20  # bytes of mixed weights from which their bandwidth counts
    rounds: int = 7  # repeats whose median and spread are reported
    round_ms: float = 10.0  # a repeat takes at least this long
    handed: int = 300  # calls in a row whose cost to the host is measured
    poison: int = 2**31  # bytes of memory that is filled with NaN
    copied: int = 2**30  # bytes of a copy that measures the memory
    matrix: int = 8192  # side of the matrices that measure the arithmetic
    large: int = 2**30  # weights per model, three models of which pass 2^31
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)  # of spectra
    hub: int = 24  # models of a ranking
    samples: int = 50_000
    evidence: tuple[tuple[int, int], ...] = ((2048, 1000), (2048, 10), (512, 100))  # k, classes
    forward: tuple[str, ...] = (
        *("resnet50", "efficientnet_b0", "regnety_032", "convnext_tiny"),
        *("vit_small_patch16_224", "swin_tiny_patch4_window7_224"),
    )
    batches: tuple[int, ...] = (16, 64, 256)
    ranked: tuple[int, int] = (12, 2000)  # models and images
    tests: tuple[str, ...] = (
        *("tests/ops/zoo_conv", "tests/ops/routing", "tests/ops/evidence"),
        *("tests/ops/test_cuda.py", "tests/pathway/test_gpu_executors.py"),
    )


@dataclass(frozen=True)
class Job:
    """A measurement, which runs in a process of its own.

    Args:
        key: Its name: letters, digits, dots, dashes and underscores.
        run: Measures, and says its rows as they come. A row's field `figures` maps keys of
            figures to numbers.
        limit: Seconds after which it is killed.
        alone: Whether nothing else may run beside it, as a clock needs it.
        gives: How the keys of its figures begin; those of a job without begin with its own key.
    """

    key: str
    run: Callable[[Say, Sizes], Any]
    limit: float
    alone: bool = True
    gives: tuple[str, ...] = ()

    def has(self, figure: str) -> bool:
        """Whether it is this job that gives the figure."""
        return any(figure.startswith(begin) for begin in self.gives or (self.key,))
