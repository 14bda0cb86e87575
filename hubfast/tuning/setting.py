"""What methods are built from: the chosen models of a hub, and the training data."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from hubfast.hub import Source
from hubfast.scores.logme.logme import LogME
from hubfast.tuning.images import Pictures
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.objective import TaskLoss
from hubfast.tuning.pretrained import TransferModel, from_source
from hubfast.tuning.teachers import CachedTeachers, Teachers, cache


@dataclass
class Setting:
    """Models of a hub, best first, and the data to tune them on.

    Args:
        sources: The chosen models.
        scores: Their LogME; None to fit it here.
        pictures: Training data.
        labels: What outputs stand for.
        steps: Of training.
        smoothing: Of labels.
        device: Where teachers run before training.
        batch_size: Of the teachers' passes, as in training.
    """

    sources: Sequence[Source]
    pictures: Pictures
    labels: TargetEncoder
    steps: int
    smoothing: float = 0.0
    device: str = "cpu"
    batch_size: int = 32
    _fits: dict[int, tuple[Tensor, LogME]] = field(default_factory=dict, repr=False)

    @property
    def task(self) -> TaskLoss:
        """A task loss of its own."""
        return TaskLoss(self.labels, self.smoothing)

    @property
    def example(self) -> Tensor:
        """A small batch of pictures."""
        return self.pictures.batch(range(min(2, len(self.pictures))))

    def load(self, k: int = 0) -> TransferModel:
        """A fresh copy of the k-th model with a new head."""
        return from_source(
            self.sources[k],
            self.labels.outputs,
            self.example,
            shift=self.labels.mean,
            scale=self.labels.deviation,
        )

    def all(self) -> list[TransferModel]:
        """Fresh copies of all models."""
        return [self.load(k) for k in range(len(self.sources))]

    def teachers(self) -> Teachers | CachedTeachers:
        """Features of all models; computed once where pictures are not augmented."""
        if self.pictures.augment is not None:
            return Teachers(self.all())
        return CachedTeachers([self.posterior(k)[0] for k in range(len(self.sources))])

    def posterior(self, k: int) -> tuple[Tensor, LogME]:
        """Features `(n, D)` of the k-th model as it came, and their LogME; computed once."""
        if k not in self._fits:
            (features,) = self.once([self.load(k)])
            self._fits[k] = features, LogME.fit(features, self.pictures.data.targets)
        return self._fits[k]

    def once(self, models: Sequence[TransferModel]) -> list[Tensor]:
        """Features of the training pictures, not augmented, `(n, D)` of each model."""
        plain = self.pictures
        if plain.augment is not None:
            plain = Pictures(plain.data, self.labels, plain.framing)
        found = self.cached(Teachers(models), plain)
        return [found.get_buffer(f"values_{k}") for k in range(found.count)]

    def cached(self, teachers: Teachers, pictures: Pictures) -> CachedTeachers:
        """What `teachers` say about `pictures`, in batches as large as in training."""
        return cache(teachers, pictures, batch_size=self.batch_size, device=self.device)
