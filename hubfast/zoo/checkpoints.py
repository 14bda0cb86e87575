"""Backbones out of the checkpoints of other methods."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from hubfast.nn.checkpoints import find_weights, under
from hubfast.nn.fitting import fit, put_in
from hubfast.nn.heads import last_linear


def load_backbone(model: nn.Module, checkpoint: Mapping[str, Any]) -> nn.Module:
    """Loads a backbone's weights from another method's checkpoint into `model`, in place.

    The prefix under which most parameters are found is taken, such as MoCo's `module.encoder_q.`
    or the `backbone.body.` of Mask R-CNN. The classifier of `model` keeps its weights where the
    checkpoint has none that fit; counters of BatchNorm, which frozen BatchNorm lacks, may be
    missing.

    Args:
        model: Such as torchvision's or timm's `resnet50`, whose names the methods share.
        checkpoint: What `torch.load` gives; a state dict may be nested, as `state_dict` or `model`.

    Returns:
        `model`.

    Raises:
        ValueError: A parameter other than the classifier's is missing or of another shape.
    """
    name = last_linear(model)
    head = [] if name is None else [name]
    weights = find_weights(checkpoint, model.state_dict(), head).weights
    misfit = fit(weights, model).without(head)
    for name in misfit.missing:
        shape = tuple(model.state_dict()[name].shape)
        raise ValueError(f"checkpoint must hold {name} of {shape}, got nothing")
    for name, got, wanted in misfit.shapes:
        raise ValueError(f"checkpoint must hold {name} of {wanted}, got {got}")
    own = model.state_dict()
    put_in(
        {n: x for n, x in weights.items() if not under(n, head) or x.shape == own[n].shape}, model
    )
    return model
