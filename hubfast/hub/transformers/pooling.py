"""From the features of tokens to those of a text, as sentence-transformers' modules do it."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Mode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
MODES: tuple[Mode, ...] = get_args(Mode)


class SentenceHead(nn.Module):
    """What a sentence-transformers model does behind its transformer.

    Args:
        modes: How tokens become one vector; the vectors of several modes are joined.
        steps: What comes behind the pooling.
        skipped: Number of tokens at the start, those of a prompt, that are not pooled.

    Raises:
        ValueError: There is no such mode, or no mode.
    """

    def __init__(self, modes: Sequence[str], steps: Sequence[nn.Module] = (), skipped: int = 0):
        super().__init__()
        if not modes or not {*modes} <= {*MODES}:
            raise ValueError(f"modes of pooling must be of {MODES}, got {[*modes]}")
        self.modes, self.skipped = tuple(modes), skipped
        self.steps = nn.Sequential(*steps)

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """Gives the features `(b, D)` of texts.

        Args:
            hidden: Features of tokens, `(b, tokens, H)` float32.
            mask: 1 for each token, 0 for padding behind them, `(b, tokens)`; None for no padding.
        """
        whole = hidden.new_ones(hidden.shape[:2]) if mask is None else mask.to(hidden.dtype)
        return self.steps(
            torch.cat([_pooled(mode, hidden, self._used(whole)) for mode in self.modes], 1)
        )

    def _used(self, mask: Tensor) -> Tensor:
        """The mask without the tokens of the prompt; all of it where no other token is left."""
        used = mask.clone()
        used[:, : self.skipped] = 0
        return torch.where(used.any(1, keepdim=True), used, mask)


class Residual(nn.Module):
    """The sum of what a dense layer gives and of what it takes, projected where widths differ."""

    def __init__(self, layer: nn.Module, projection: nn.Module):
        super().__init__()
        self.layer, self.projection = layer, projection

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(b, D)` to `(b, D')`."""
        return self.layer(x) + self.projection(x)


class UnitLength(nn.Module):
    """Vectors divided by their length."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(b, D)` to `(b, D)`."""
        return nn.functional.normalize(x, dim=-1)


def _pooled(mode: str, hidden: Tensor, mask: Tensor) -> Tensor:
    """One vector for each text.

    Args:
        mode: One of `MODES`.
        hidden: `(b, tokens, H)`.
        mask: 1 for each token that counts, `(b, tokens)`; every text has one.
    """
    places = torch.arange(hidden.shape[1], device=hidden.device)
    rows = torch.arange(len(hidden), device=hidden.device)
    match mode:
        case "cls":
            return hidden[rows, mask.argmax(1)]
        case "lasttoken":
            return hidden[rows, (mask * (places + 1)).argmax(1)]
        case "max":
            return hidden.masked_fill(mask[..., None] == 0, float("-inf")).amax(1)
        case "weightedmean":
            weights = mask * (places + 1)
        case _:
            weights = mask
    total, sums = weights.sum(1, keepdim=True), (hidden * weights[..., None]).sum(1)
    return sums / (total.sqrt() if mode == "mean_sqrt_len_tokens" else total)
