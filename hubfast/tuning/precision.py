"""Lightning Fabric in the precision that was asked for, with the inputs as they are."""

import warnings
from typing import TYPE_CHECKING, Any

from hubfast.tuning.launch import process_options
from hubfast.utils.devices import find_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MIXED = ("16-mixed", "bf16-mixed")
ACCELERATORS = ("auto", "cpu", "cuda", "mps", "gpu", "tpu")


def fabric_of(accelerator: str, devices: int | str, strategy: str, precision: str) -> "Fabric":
    """A set-up Fabric; the arguments are those of Fabric itself.

    Processes that are there already are joined; see `hubfast.tuning.launch.process_options`.

    In mixed precision Fabric itself would cast all inputs to half precision, regression targets
    included, of which 8 bits were then left. Here they stay float32, and autocast casts what an
    operation can take in half precision.

    Without a GPU, "16-mixed" is run as "bf16-mixed", with a warning: torch has no float16 mixed
    precision for the CPU.

    Raises:
        ValueError: Options that Fabric does not know, an accelerator that is not there, or devices
            that do not fit the processes.
    """
    _check_accelerator(accelerator)
    from lightning_fabric import Fabric  # slow to import
    from lightning_fabric.plugins import MixedPrecision

    class FullInputs(MixedPrecision):
        def convert_input(self, data: Any) -> Any:
            return data

    options = {
        "accelerator": accelerator,
        "strategy": strategy,
        **process_options(accelerator, devices),
    }
    if precision not in MIXED:
        return Fabric(**options, precision=precision)  # type: ignore[arg-type]
    device = "cpu" if Fabric(**options).device.type == "cpu" else "cuda"
    if device == "cpu" and precision == "16-mixed":
        warnings.warn(
            "precision '16-mixed' needs a GPU; on the CPU 'bf16-mixed' is used instead",
            stacklevel=2,
        )
        precision = "bf16-mixed"
    plugins = [*options.pop("plugins", ()), FullInputs(precision, device)]  # type: ignore[arg-type]
    return Fabric(**options, plugins=plugins)


def _check_accelerator(accelerator: str) -> None:
    """Refuses what Fabric has no word for, and what this machine lacks.

    Raises:
        ValueError: The accelerator is such.
    """
    if accelerator not in ACCELERATORS:
        raise ValueError(f"device must be one of {ACCELERATORS}, got {accelerator!r}")
    if accelerator in ("cuda", "mps"):
        find_device(accelerator)
