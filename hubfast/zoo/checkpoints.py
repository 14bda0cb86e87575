"""Backbones out of the checkpoints of other methods."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

# MoCo's query encoder, the backbones of Mask R-CNN and Keypoint R-CNN, of DeepLab, and what
# DataParallel and DINO-like wrappers add.
PREFIXES = ("", "module.encoder_q.", "backbone.body.", "backbone.", "module.", "encoder.")
NESTED = ("state_dict", "model", "model_state")


def load_backbone(model: nn.Module, checkpoint: Mapping[str, Any]) -> nn.Module:
    """Loads a backbone's weights from another method's checkpoint into `model`, in place.

    The prefix of `PREFIXES` under which most parameters are found is taken. The classifier of
    `model` keeps its weights where the checkpoint has none that fit; counters of BatchNorm, which
    frozen BatchNorm lacks, may be missing.

    Args:
        model: Such as torchvision's or timm's `resnet50`, whose names the methods share.
        checkpoint: What `torch.load` gives; a state dict may be nested as `state_dict` or `model`.

    Returns:
        `model`.

    Raises:
        ValueError: A parameter other than the classifier's is missing or of another shape.
    """
    state = next((checkpoint[key] for key in NESTED if key in checkpoint), checkpoint)
    wanted = model.state_dict()
    prefix = max(PREFIXES, key=lambda p: sum(f"{p}{name}" in state for name in wanted))
    found = {
        n: state[f"{prefix}{n}"] for n in wanted if _fits(state.get(f"{prefix}{n}"), wanted[n])
    }
    head = _classifier(model)
    for name, value in wanted.items():
        if name in found or name.startswith(f"{head}.") or name.endswith("num_batches_tracked"):
            continue
        got = state.get(f"{prefix}{name}")
        shape = "nothing" if got is None else tuple(got.shape)
        raise ValueError(
            f"checkpoint must hold {prefix}{name} of {tuple(value.shape)}, got {shape}"
        )
    model.load_state_dict(found, strict=False)
    return model


def _fits(value: Tensor | None, wanted: Tensor) -> bool:
    return value is not None and value.shape == wanted.shape


def _classifier(model: nn.Module) -> str:
    """Name of the last linear layer."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]
