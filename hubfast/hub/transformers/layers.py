"""The layers of transformers models, heard as they come."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

from torch import Tensor, nn

from hubfast.hub.pooling import pooled_image, pooled_text
from hubfast.hub.taps import Hearer

MOST_PREFIX = 64  # tokens before the patches: a class token, a distillation token, registers


class TransformersLayers:
    """What transformers calls the hidden states of a model.

    Most models tell which of their modules give these; a hook then hands each over as it comes,
    and none is held. Others are asked for all of them, and hold those of one batch.

    Args:
        base: The model without its head.
        own: How it pools by itself.
        text: Whether it reads texts; else images.
    """

    def __init__(self, base: nn.Module, *, own: str, text: bool):
        self.base: Any = base
        self.own, self.text = own, text
        self._told = _told(base)

    @contextmanager
    def heard(self, by: Hearer) -> Iterator[None]:
        with ExitStack() as held:
            if self._told is None:
                hook = self.base.register_forward_pre_hook(_asking, with_kwargs=True)
                held.callback(hook.remove)
            else:
                modules, index, initial = self._told
                calls = count(0 if initial else 1)

                def take(_: nn.Module, args: Any, out: Any) -> None:
                    if next(calls) == 0:
                        by.take(args[0], initial=True)
                        next(calls)
                    by.take(out[index] if isinstance(out, tuple) else out)

                for module in modules:
                    held.callback(module.register_forward_hook(take).remove)
            end = self._end(by, held=self._told is None)
            held.callback(self.base.register_forward_hook(end).remove)
            yield

    def pooled(self, hidden: Tensor, pooling: str, inputs: Any) -> Tensor:
        if self.text:
            return pooled_text(hidden, pooling, inputs.get("attention_mask"))
        prefix = self._prefix(hidden, inputs) if hidden.ndim == 3 else 0
        return pooled_image(hidden, pooling, prefix=prefix)

    def _prefix(self, hidden: Tensor, pixels: Tensor) -> int:
        """How many tokens come before the patches."""
        size = getattr(self.base.config, "patch_size", None)
        if size is None:
            return 0
        sides = (size, size) if isinstance(size, int) else (*size,)[-2:]
        patches = math.prod(
            have // side for have, side in zip(pixels.shape[-2:], sides, strict=True)
        )
        more = hidden.shape[1] - patches
        return more if 0 < more <= MOST_PREFIX else 0

    def _end(self, by: Hearer, *, held: bool) -> Any:
        def end(_: nn.Module, args: Any, out: Any) -> None:
            for number, hidden in enumerate(out.get("hidden_states") or () if held else ()):
                by.take(hidden, initial=number == 0)
            last = out.get("last_hidden_state")
            if isinstance(last, Tensor):
                by.end(last)

        return end


def image_layers(model: Any) -> TransformersLayers:
    """The layers of that part of a model which reads images."""
    base = getattr(model, "vision_model", None) or _base(model)
    return TransformersLayers(base, own="mean", text=False)


def text_layers(model: Any, part: Any, own: str = "mean") -> TransformersLayers:
    """The layers of that part of a model which reads texts; see `features.text_features`."""
    base = getattr(model, "text_model", None) or _base(part)
    return TransformersLayers(base, own=own, text=True)


def _base(model: Any) -> Any:
    """A model without its head."""
    return getattr(model, "base_model", model)


def _asking(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return args, {**kwargs, "output_hidden_states": True}


def _told(base: nn.Module) -> tuple[list[nn.Module], int, bool] | None:
    """The modules that give hidden states, the place in their output, and whether the input counts.

    None where the model does not tell, or in a way that is not known here.
    """
    spec = (getattr(base, "_can_record_outputs", None) or {}).get("hidden_states")
    kind = getattr(spec, "target_class", spec)
    if not isinstance(kind, type) or getattr(spec, "layer_name", None) is not None:
        return None
    modules = [module for module in _own_modules(base) if isinstance(module, kind)]
    initial = getattr(spec, "capture_initial_hidden_state", True)
    return (modules, getattr(spec, "index", 0), initial) if modules else None


def _own_modules(base: nn.Module) -> Iterator[nn.Module]:
    """The modules of a model, but for those of models within it, which tell of their own."""
    for child in base.children():
        if not hasattr(child, "_can_record_outputs"):
            yield child
            yield from _own_modules(child)
