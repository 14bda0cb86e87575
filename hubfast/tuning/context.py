"""What methods are built from: the chosen models of a hub, and the training data."""

from collections.abc import Sequence

from torch import Tensor

from hubfast.hub import Source
from hubfast.scores.logme.logme import LogME
from hubfast.tuning.images import ImageDataset
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.objective import TaskLoss
from hubfast.tuning.pretrained import TransferModel, from_source
from hubfast.tuning.processes import ALONE, Processes
from hubfast.tuning.teachers import CachedTeachers, Teachers, cache
from hubfast.utils.moved import Former, renamed


class TuningContext:
    """Models of a hub, best first, and the data to tune them on.

    Args:
        sources: The chosen models.
        images: Training data.
        labels: What outputs stand for.
        steps: How many steps training takes.
        smoothing: How much labels are smoothed.
        device: Where teachers run before training.
        batch_size: Images in one pass of the teachers, as many as in training.
        processes: Those that tune together: each runs the teachers on its part of the images.
    """

    @renamed(pictures="images")
    def __init__(
        self,
        sources: Sequence[Source],
        images: ImageDataset,
        labels: TargetEncoder,
        steps: int,
        smoothing: float = 0.0,
        device: str = "cpu",
        batch_size: int = 32,
        processes: Processes = ALONE,
    ):
        self.sources, self.images, self.labels = sources, images, labels
        self.steps, self.smoothing = steps, smoothing
        self.device, self.batch_size, self.processes = device, batch_size, processes
        self._fits: dict[int, tuple[Tensor, LogME]] = {}

    pictures, all, once = Former("images"), Former("load_all"), Former("plain_features")
    posterior = Former("features_and_logme")

    @property
    def task(self) -> TaskLoss:
        """A new task loss."""
        return TaskLoss(self.labels, self.smoothing)

    @property
    def example(self) -> Tensor:
        """A small batch of images."""
        return self.images.batch(range(min(2, len(self.images))))

    def load(self, k: int = 0) -> TransferModel:
        """A fresh copy of the k-th model with a new head."""
        return from_source(
            self.sources[k],
            self.labels.outputs,
            self.example,
            shift=self.labels.mean,
            scale=self.labels.std,
        )

    def load_all(self) -> list[TransferModel]:
        """Fresh copies of all models."""
        return [self.load(k) for k in range(len(self.sources))]

    def teachers(self) -> Teachers | CachedTeachers:
        """What gives the features of all models; computed once where images are not augmented."""
        if self.images.augment is not None:
            return Teachers(self.load_all())
        return CachedTeachers([self.features_and_logme(k)[0] for k in range(len(self.sources))])

    def features_and_logme(self, k: int) -> tuple[Tensor, LogME]:
        """Features `(n, D)` of the k-th model as it came, and their LogME; computed once."""
        if k not in self._fits:
            (features,) = self.plain_features([self.load(k)])
            self._fits[k] = features, LogME.fit(features, self.images.data.targets)
        return self._fits[k]

    def plain_features(self, models: Sequence[TransferModel]) -> list[Tensor]:
        """Features of the training images, not augmented, `(n, D)` of each model."""
        plain = self.images
        if plain.augment is not None:
            plain = ImageDataset(plain.data, self.labels, plain.framing)
        return self.cached(Teachers(models), plain).values

    def cached(self, teachers: Teachers, images: ImageDataset) -> CachedTeachers:
        """What `teachers` say about `images`, in batches as large as in training."""
        return cache(
            teachers,
            images,
            batch_size=self.batch_size,
            device=self.device,
            processes=self.processes,
        )
