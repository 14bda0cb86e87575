"""How models run best on this GPU, where that was measured; see `hubfast.ops.choices`."""

import torch

from hubfast.hub.model import Extraction
from hubfast.nn.inference import default_batch_size
from hubfast.ops.choices import choices

TABLE = "inference"
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def usual_batch_size(device: str | torch.device) -> int:
    """Samples per forward pass where the user says nothing."""
    return int(choices(device, TABLE).get("batch_size", default_batch_size(device)))


def channels_last_wins(options: Extraction) -> bool:
    """Whether 2D convolutions run channels last."""
    key = f"channels_last_{DTYPES[options.precision]}"
    return bool(choices(options.device, TABLE).get(key, True))
