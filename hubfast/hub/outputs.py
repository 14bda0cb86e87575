"""What other frameworks' models take and return, as batches of features and logits."""

from collections.abc import Callable

import torch
from torch import Tensor

WANTED = "one input of images (batch, 3, height, width) or (batch, height, width, 3)"


def oriented(images: Tensor, *, channels_last: bool) -> Tensor:
    """Images `(b, 3, H, W)` with their channels last, unless they are already."""
    if channels_last and images.shape[1] in (1, 3):
        return images.permute(0, 2, 3, 1).contiguous()
    return images


def in_number_type(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Gives images in the number type that a model takes.

    Raises:
        ValueError: The model takes whole numbers, and the images hold others, or exceed its range.
    """
    if dtype.is_floating_point:
        return images.to(dtype)
    limits, rounded = torch.iinfo(dtype), images.float().round()
    low, high = float(rounded.min()), float(rounded.max())
    whole = bool((rounded - images.float()).abs().max() < 1e-2)
    if not whole or low < limits.min or high > limits.max:
        name = str(dtype).removeprefix("torch.")
        raise ValueError(
            f"the model takes {name} pixels, its preprocessing gives numbers of "
            f"{float(images.min()):.3g} to {float(images.max()):.3g}; for pixels in 0..255 say "
            f"mean: [0, 0, 0] and std: {[1 / 255] * 3}"
        )
    return rounded.to(dtype)


def features_and_logits(
    outputs: list[Tensor], samples: int, channels: int, unseen: str | None
) -> tuple[Tensor, Tensor | None]:
    """Gives features `(b, D)`, and logits `(b, Cs)` where there are some of images.

    Args:
        outputs: What enters the classifier and maybe what it gives; or the output of a model
            without a classifier.
        samples: Number of samples, b.
        channels: The axis of the channels of the features.
        unseen: Name of a model in which no classifier was seen; None for one with a classifier.

    Raises:
        ValueError: No classifier was seen, but the output is probabilities.
    """
    features, *logits = outputs
    features = per_sample(features, samples)
    if unseen is not None:
        channels = -1 if features.ndim == 3 else channels  # tokens have their channels last
        return no_probabilities(averaged(features.float(), channels), unseen), None
    features = averaged(features.float(), channels)
    return features, class_scores(logits[0], samples) if logits else None


def pooled(x: Tensor, *, channels_last: bool = False) -> Tensor:
    """Gives `x` as `(b, D)`: maps are averaged over their places, tokens over their positions.

    Args:
        x: `(b, D)`, `(b, tokens, D)`, or `(b, D, H, W)`, or `(b, H, W, D)` if `channels_last`.
        channels_last: Whether maps have their channels last.
    """
    return averaged(x, -1 if channels_last or x.ndim == 3 else 1)


def averaged(x: Tensor, channels: int) -> Tensor:
    """Gives `x` as `(b, D)`: the mean over all axes but the first and that of the channels."""
    return x if x.ndim <= 2 else x.movedim(channels, -1).flatten(1, -2).mean(1)


def per_sample(x: Tensor, samples: int) -> Tensor:
    """`(b * tokens, D)`, as dense layers get tokens, as `(b, tokens, D)`; anything else as it is.

    Args:
        x: Rows in the order of samples.
        samples: How many samples there are, b.
    """
    if x.ndim == 2 and len(x) != samples and samples and len(x) % samples == 0:
        return x.unflatten(0, (samples, -1))
    return x


def class_scores(x: Tensor, samples: int) -> Tensor | None:
    """Gives logits as `(b, Cs)`, axes of one entry dropped.

    Gives None for logits of places or tokens, and for those of a single class.
    """
    x = x.reshape(len(x), *(side for side in x.shape[1:] if side != 1))
    return x.float() if x.is_floating_point() and x.ndim == 2 and len(x) == samples else None


def log_probabilities(out: Tensor) -> Tensor | None:
    """Logarithms of rows that are distributions; None for others, such as sigmoids of labels."""
    out = out.float()
    if bool((out.sum(1) - 1).abs().max() >= 1e-3):
        return None
    return out.clamp_min(torch.finfo(out.dtype).tiny).log()


def no_probabilities(features: Tensor, what: str) -> Tensor:
    """Gives `features` as they are, unless they are probabilities.

    Args:
        features: `(b, D)`, an output in which no classifier was seen.
        what: Name of what gave them, for the message.

    Raises:
        ValueError: Each row is a distribution, so these are probabilities of classes.
    """
    sums = features.double().sum(1)
    if features.shape[1] > 1 and bool((features >= 0).all() & ((sums - 1).abs() < 1e-3).all()):
        raise ValueError(
            f"the output of {what} is probabilities (no negative value, rows add up to 1), and the "
            "linear layer that makes them was not found; save the model without its classifier"
        )
    return features


def run_in_fixed_batches(
    run: Callable[[Tensor], list[Tensor]], inputs: Tensor, size: int | None
) -> list[Tensor]:
    """Runs a model in batches of exactly `size`, or in one batch if `size` is None.

    A last, smaller batch is filled with copies of its last sample, whose outputs are dropped.
    """
    if size is None:
        return run(inputs)
    parts = []
    for part in inputs.split(size):
        filling = part[-1:].expand(size - len(part), *part.shape[1:])
        found = [per_sample(out, size) for out in run(torch.cat([part, filling]))]
        parts.append([out[: len(part)] for out in found])
    return [torch.cat(column) for column in zip(*parts, strict=True)]
