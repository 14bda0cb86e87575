"""Texts as training batches: as they are, since each model has a tokenizer of its own."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from hubfast.data import TargetData
from hubfast.data.texts import TextPair
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.samples import Item, SampleDataset

Text = str | TextPair


class TextBatch:
    """Some texts, which every model turns into tokens by its own tokenizer.

    It is moved and cut like a tensor, so that whatever trains images trains texts.

    Args:
        texts: The texts of the batch, or pairs of texts.
    """

    def __init__(self, texts: Sequence[Text]):
        self.texts = tuple(texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Text]:
        return iter(self.texts)

    def __getitem__(self, rows: slice) -> "TextBatch":
        return TextBatch(self.texts[rows])

    def to(self, *where: Any, **options: Any) -> "TextBatch":
        """The batch itself: tokens are made where the model is."""
        return self


class TextDataset(SampleDataset):
    """Texts by `(epoch, position)`: text, target, position.

    Batches hold texts of like length, in characters, which no tokenizer decides.

    Args:
        data: Target data whose samples are texts, or pairs of texts.
        labels: What the outputs stand for, as told from the training data.

    Raises:
        TypeError: A sample is no text.
    """

    lr = 5e-5  # what models of texts are usually fine-tuned with, by AdamW

    def __init__(self, data: TargetData, labels: TargetEncoder):
        super().__init__(data, labels)
        texts = (self._text(position) for position in range(len(data)))
        self.lengths = [len(t) if isinstance(t, str) else sum(map(len, t)) for t in texts]

    def __getitem__(self, key: tuple[int, int]) -> Item:
        position = key[1]
        return self._text(position), self.targets[position], position

    def batch(self, positions: Sequence[int]) -> TextBatch:
        """The texts at `positions`."""
        return TextBatch([self._text(position) for position in positions])

    def collate(self, items: list[Item]) -> tuple[TextBatch, Tensor, Tensor]:
        """Texts, their targets `(B,)` or `(B, C)`, their positions `(B,)`."""
        texts, targets, positions = zip(*items, strict=True)
        return TextBatch(texts), torch.stack(targets), torch.tensor(positions, device="cpu")

    def _text(self, position: int) -> Text:
        sample = self.data[position]
        if isinstance(sample, str | TextPair):
            return sample
        name = self.data.name_of(position)
        raise TypeError(f"data must give texts only, {name} is {type(sample).__name__}")
