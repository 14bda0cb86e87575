"""Hidden states pooled to one vector per sample."""

from torch import Tensor

from hubfast.hub.model import shape_error


class PoolingError(ValueError):
    """A hidden state cannot be pooled in this way."""


def pooled_text(hidden: Tensor, pooling: str, mask: Tensor | None = None) -> Tensor:
    """Pools the tokens of texts.

    Args:
        hidden: `(b, tokens, D)`.
        pooling: `"cls"` for the first token, `"last"` for the last, `"mean"` or `"max"` over all.
        mask: `(b, tokens)`, 0 at padding; None where nothing is padded.

    Returns:
        `(b, D)` float32.

    Raises:
        PoolingError: There are no tokens, or padding cannot be told from them.
    """
    if hidden.ndim != 3:
        raise PoolingError("it gives no tokens")
    x = hidden.float()
    if mask is None or mask.shape != x.shape[:2]:
        if mask is not None and not bool(mask.all()):
            raise PoolingError("it shortens texts, so that their padding cannot be told")
        return {
            "cls": lambda: x[:, 0],
            "last": lambda: x[:, -1],
            "mean": lambda: x.mean(1),
            "max": lambda: x.amax(1),
        }[pooling]()
    kept = mask[..., None]  # (b, tokens, 1)
    match pooling:
        case "cls":
            first = mask.ne(0).int().argmax(1)
            return x[range(len(x)), first]
        case "last":
            last = x.shape[1] - 1 - mask.ne(0).flip(1).int().argmax(1)
            return x[range(len(x)), last]
        case "mean":
            return (x * kept).sum(1) / kept.sum(1)
        case _:
            return x.masked_fill(kept == 0, -float("inf")).amax(1)


def pooled_image(
    hidden: Tensor, pooling: str, *, prefix: int = 0, channels_last: bool = False
) -> Tensor:
    """Pools the places of images: patches, or the places of a map.

    Args:
        hidden: `(b, tokens, D)`; or a map `(b, D, H, W)`, `(b, H, W, D)` if `channels_last`.
        pooling: `"cls"` for the class token, `"mean"` or `"max"` over the patches or places.
        prefix: How many tokens come before the patches: the class token and others, which are no
            patches, such as registers.
        channels_last: Whether maps have their channels last.

    Returns:
        `(b, D)` float32.

    Raises:
        PoolingError: There is no class token, or no last token, or there are no places.
    """
    if pooling == "last":
        raise PoolingError("images have no last token")
    if hidden.ndim not in (3, 4):
        raise PoolingError("it gives neither tokens nor maps")
    if pooling == "cls":
        if hidden.ndim == 4 or prefix < 1:
            raise PoolingError("it has no class token")
        return hidden[:, 0].float()
    axes: tuple[int, ...] = (1,)
    if hidden.ndim == 3:
        hidden = hidden[:, prefix:]
    else:
        axes = (1, 2) if channels_last else (2, 3)
    if not hidden.numel():
        raise shape_error("hidden states", "of at least one patch", hidden)
    x = hidden.float()
    return x.mean(axes) if pooling == "mean" else x.amax(axes)
