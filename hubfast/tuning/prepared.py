"""From the parts of the data to the data sets that train and evaluate: images framed, texts."""

from collections.abc import Sequence
from typing import NamedTuple

from hubfast.data.texts import is_text
from hubfast.hub import Source
from hubfast.tuning.framing import Framing, Size, choose_framing
from hubfast.tuning.images import Augment, ImageDataset
from hubfast.tuning.parts import Parts
from hubfast.tuning.samples import SampleDataset
from hubfast.tuning.texts import TextDataset


class Prepared(NamedTuple):
    """The data sets of a run."""

    train: SampleDataset
    held_out: dict[str, SampleDataset]
    framing: Framing | None  # how images come to the size that the module takes; None for texts


def gives_texts(parts: Parts) -> bool:
    """Whether the training data are texts."""
    return is_text(parts.train[0])


def prepared(
    parts: Parts, shown_to: Sequence[Source], *, augment: Augment, size: Size | None, seed: int
) -> Prepared:
    """The data sets for training and evaluation.

    Args:
        parts: The data.
        shown_to: The models that shall all see the same images, best first.
        augment: How training images are augmented.
        size: Height and width of images, if the user says so.
        seed: Seed of the augmentation.

    Raises:
        ValueError: The data gives texts, and `augment` or `size` are for images.
    """
    labels = parts.labels
    if gives_texts(parts):
        for name, given in (("augment", augment != "none"), ("size", size is not None)):
            if given:
                raise ValueError(f"{name} is for images, the data {parts.train.name!r} gives texts")
        texts = {name: TextDataset(part, labels) for name, part in parts.held_out.items()}
        return Prepared(TextDataset(parts.train, labels), dict(texts), None)
    framing = choose_framing(parts.train, shown_to, size)
    images = {name: ImageDataset(part, labels, framing) for name, part in parts.held_out.items()}
    train = ImageDataset(parts.train, labels, framing, augment=augment, seed=seed)
    return Prepared(train, dict(images), framing)
