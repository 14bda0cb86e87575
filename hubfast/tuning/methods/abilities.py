"""What each method can do with the models of a hub, told before any of them runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from hubfast.data import TargetData
from hubfast.data.texts import Word, is_text
from hubfast.hub import Source
from hubfast.hub.network import FeatureModule
from hubfast.tuning.methods.method import TuningMethod
from hubfast.tuning.methods.registry import METHODS, Method

# Kinds of sources without parameters that torch trains, and what they are.
FIXED = {
    "features": "stored features, no model",
    "onnx": "an ONNX graph, which cannot be trained",
    "export": "an exported program, which cannot be trained",
    "keras": "a Keras model, which torch cannot train",
    "tfhub": "a TensorFlow model, which torch cannot train",
}


class Usable(NamedTuple):
    """The models that a method can use as far as is known, and why it cannot use the others."""

    sources: list[Source]
    left_out: dict[str, str]  # reason by name

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each model that is left out."""
        return tuple(f"{name} is left out: {why}" for name, why in self.left_out.items())


def usable(method: Method, top: int, sources: Sequence[Source], data: TargetData) -> Usable:
    """Leaves out what the method cannot use; no model of a file or a name is loaded for that.

    Args:
        method: How to tune.
        top: How many models a method of several uses.
        sources: The hub.
        data: The training data.

    Raises:
        ValueError: The data gives words of sentences, which nothing is tuned on; or the method
            cannot be used with these models, samples or targets. The message says what it needs,
            and which methods can be used.
    """
    wanted, first = METHODS[method], data[0]
    if isinstance(first, Word):
        raise ValueError(
            f"data must hold images or texts to tune models, {data.name!r} gives words"
        )
    texts = is_text(first)
    found = {each.name: _usable(each, sources, texts) for each in METHODS.values()}

    def obstacle(name: str) -> str:
        if texts and not METHODS[name].texts:
            return f"the data {data.name!r} gives texts"
        return _obstacle(METHODS[name], top, found[name], data.task)

    own, why = found[method], obstacle(method)
    if not why:
        return own
    others = [name for name in METHODS if not obstacle(name)]
    instead = f"methods that can: {', '.join(others)}" if others else "no method can"
    wants = "images" if texts and not wanted.texts else wanted.needs
    needs = f"{method} needs {wants}; " if wants else ""
    reasons = "".join(f"\n{note}" for note in own.notes)
    raise ValueError(f"{needs}{why}; {instead}{reasons}")


def _obstacle(method: TuningMethod, top: int, found: Usable, task: str) -> str:
    """Why the method cannot be used; empty if nothing is known against it."""
    if task != "classification" and method.classes_only:
        return f"the targets are {task}"
    there = len(found.sources)
    if not there:
        return "the hub must hold a model that can be tuned"
    if method.same_architecture:
        known = [architecture(source) for source in found.sources]
        alike = max(Counter(known).values())
        return "" if None in known or alike > 1 else "no two models of the hub are of one"
    if there < method.models_used(top):
        return f"top must be at most {there}, the models that can be tuned, got {top}"
    return ""


def _usable(method: TuningMethod, sources: Sequence[Source], texts: bool) -> Usable:
    lack = _lack_for_texts if texts else partial(_lack, method)
    reasons: Mapping[str, str] = {source.name: lack(source) for source in sources}
    kept = [source for source in sources if not reasons[source.name]]
    return Usable(kept, {name: why for name, why in reasons.items() if why})


def _lack_for_texts(source: Source) -> str:
    """Why a model cannot be tuned on texts; empty if nothing is known against it."""
    if source.kind == "hf":
        return ""
    return FIXED.get(source.kind, "no transformers model (hf:NAME), which tuning on texts needs")


def _lack(method: TuningMethod, source: Source) -> str:
    """What the method needs and the model does not have; empty if nothing is known to lack."""
    if source.kind in FIXED:
        return FIXED[source.kind]
    module = None
    if source.kind == "object":  # is there already
        module = getattr(source.load(), "run", None)
        if not isinstance(module, nn.Module) or isinstance(module, FeatureModule):
            return "a callable, no nn.Module that can be trained"
    if method.named_stages and (
        source.kind == "hf" or (module is not None and not getattr(module, "feature_info", None))
    ):
        return "it does not name its stages"
    if method.source_classifier and source.kind == "timm" and _without_classifier(source):
        return "it comes without a classifier"
    return ""


def _without_classifier(source: Source) -> bool:
    """Whether timm publishes these weights without a classifier; False where that is not known."""
    from timm.models import get_pretrained_cfg  # slow to import

    name = (source.spec or "").removeprefix("timm:")
    if "@" in name or not name:
        return False
    config: Any = get_pretrained_cfg(name, allow_unregistered=True)
    return config is not None and config.num_classes == 0


def architecture(source: Source) -> Any:
    """A key that differs for models of different architectures; None where it is not known."""
    match source.kind:
        case "timm" if source.spec is not None:
            return source.spec.removeprefix("timm:").partition("@")[0].partition(".")[0]
        case "minihub" if source.spec is not None:
            from hubfast.minihub.models import spec_of

            spec = spec_of(source.spec.removeprefix("minihub:"))
            return spec.architecture, spec.options
        case "object":
            module: Any = getattr(source.load(), "run", None)
            return _shapes(module) if isinstance(module, nn.Module) else None
    return None


def _shapes(module: nn.Module) -> frozenset[Any]:
    """Names and shapes of all parameters but those of linear layers, of which one is the head."""
    return frozenset(
        (f"{place}.{name}", tuple(p.shape))
        for place, part in module.named_modules()
        if not isinstance(part, nn.Linear)
        for name, p in part.named_parameters(recurse=False)
    )
