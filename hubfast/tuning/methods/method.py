"""What a method of tuning is: its name, how it is built, and what it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import nn

from hubfast.tuning.context import TuningContext


class Options(NamedTuple):
    """What a method is built with, besides models and data."""

    weight: float  # weight of the method's own loss term; 0 for methods without one
    fit: Callable[[nn.Module], object]  # trains a module in place, before the method itself
    rank: int = 8  # of LoRA's updates


@dataclass(frozen=True)
class TuningMethod:
    """A way to tune.

    Args:
        name: What `tune` knows it by.
        build: Makes the module that is trained; the student is the first model.
        models: "one" if it tunes the best-ranked model alone, "several" if it uses the `top` best.
        weight: Default weight of its own loss term; None if it has no such term.
        weight_decay: False if its term takes the place of the optimiser's weight decay.
        classes_only: It is for classification only.
        same_architecture: It needs at least two models, all of one architecture.
        source_classifier: It needs a model with the classifier that it was pre-trained with.
        named_stages: It needs models that name their stages (timm's `feature_info`).
        shared_images: Its result runs several models, all on the same images.
        texts: Texts can be tuned on with it, too.
        lr: Highest learning rate that it usually takes; None for that of the samples.
        package: What has to be installed for it, and the extra of hubfast that installs it.
    """

    name: str
    build: Callable[[TuningContext, Options], nn.Module]
    models: Literal["one", "several"]
    weight: float | None = None
    weight_decay: bool = True
    classes_only: bool = False
    same_architecture: bool = False
    source_classifier: bool = False
    named_stages: bool = False
    shared_images: bool = False
    texts: bool = False
    lr: float | None = None
    package: tuple[str, str] | None = None

    @property
    def needs(self) -> str:
        """What not every hub and task have, in words; empty if nothing."""
        needs = {
            "two models of one architecture": self.same_architecture,
            "a model with its source classifier": self.source_classifier,
            "models that name their stages (timm's feature_info)": self.named_stages,
            "classes to tune": self.classes_only,
        }
        return ", and ".join(words for words, needed in needs.items() if needed)

    def models_used(self, top: int) -> int:
        """How many of the `top` best models it takes."""
        return 1 if self.models == "one" else top
