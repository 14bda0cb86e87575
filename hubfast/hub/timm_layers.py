"""The layers of timm models: blocks of vision transformers, stages of convolutional networks."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from hubfast.hub.pooling import pooled_image
from hubfast.hub.taps import Hearer

MOST_PREFIX = 64  # tokens before the patches: a class token, a distillation token, registers
LATE_CLASS = ("blocks_token_only", "cls_attn_blocks")  # layers before which there is no class token


class TimmLayers:
    """What `feature_info` of a timm model tells: the modules that timm itself takes features of.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module):
        self.model: Any = model
        self._hearer: Hearer | None = None
        self._hooked = [model.get_submodule(one["module"]) for one in _infos(model)]
        self.further = _infos(model)[-1]["num_chs"] != self.model.num_features
        self.own = self._own()

    @classmethod
    def of(cls, model: nn.Module) -> "TimmLayers | None":
        """The layers of a timm model; None for one that does not tell them."""
        infos = _infos(model)
        names = {name for name, _ in model.named_modules()}
        told = infos and all(one.get("module") in names - {""} for one in infos)
        return cls(model) if told and hasattr(model, "num_features") else None

    @contextmanager
    def heard(self, by: Hearer) -> Iterator[None]:
        """Hands over what each of these modules gives; see `hubfast.hub.taps.Layers`.

        The last hidden state is handed over by `ended`, as no module gives it.
        """
        with ExitStack() as held:
            for module in self._hooked:
                hook = module.register_forward_hook(lambda _, args, out: by.take(out))
                held.callback(hook.remove)
            self._hearer = by
            held.callback(setattr, self, "_hearer", None)
            yield

    def ended(self, hidden: Any) -> None:
        """Takes what enters the head."""
        if self._hearer is not None and isinstance(hidden, Tensor):
            self._hearer.end(hidden, further=self.further)

    def pooled(self, hidden: Tensor, pooling: str, inputs: Any) -> Tensor:
        last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        prefix = self._prefix(hidden) if hidden.ndim == 3 else 0
        return pooled_image(hidden, pooling, prefix=prefix, channels_last=last)

    def _prefix(self, hidden: Tensor) -> int:
        """How many tokens come before the patches."""
        patches = getattr(getattr(self.model, "patch_embed", None), "num_patches", None)
        if patches is not None and 0 <= hidden.shape[1] - patches <= MOST_PREFIX:
            return int(hidden.shape[1] - patches)
        return int(getattr(self.model, "num_prefix_tokens", 0))

    def _own(self) -> str:
        pool = getattr(self.model, "global_pool", "avg")
        late = any(hasattr(self.model, name) for name in LATE_CLASS)
        if pool == "token" and getattr(self.model, "num_prefix_tokens", 0) and not late:
            return "cls"
        return "max" if pool == "max" else "mean"


def _infos(model: Any) -> list[dict[str, Any]]:
    told = getattr(model, "feature_info", None) or ()
    return [dict(one) for one in getattr(told, "info", told)]
