"""What methods are built from: the chosen models of a hub, and the training data."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hubfast.hub import Extraction, Source
from hubfast.nn.hooks import eval_mode
from hubfast.scores.logme.logme import LogME
from hubfast.tuning.headed import HeadedModel
from hubfast.tuning.images import ImageDataset
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.objective import TaskLoss
from hubfast.tuning.pretrained import TransferModel, from_source
from hubfast.tuning.processes import ALONE, Processes
from hubfast.tuning.samples import SampleDataset
from hubfast.tuning.teachers import CachedTeachers, Teachers, cache, in_order
from hubfast.tuning.text_model import text_model
from hubfast.tuning.texts import TextDataset
from hubfast.utils.moved import Former, renamed


class TuningContext:
    """Models of a hub, best first, and the data to tune them on.

    Args:
        sources: The chosen models.
        samples: Training data.
        labels: What outputs stand for.
        steps: How many steps training takes.
        smoothing: How much labels are smoothed.
        device: Where teachers run before training.
        batch_size: Samples in one pass of the teachers, as many as in training.
        processes: Those that tune together: each runs the teachers on its part of the samples.
    """

    @renamed(pictures="samples", images="samples")
    def __init__(
        self,
        sources: Sequence[Source],
        samples: SampleDataset,
        labels: TargetEncoder,
        steps: int,
        smoothing: float = 0.0,
        device: str = "cpu",
        batch_size: int = 32,
        processes: Processes = ALONE,
    ):
        self.sources, self.samples, self.labels = sources, samples, labels
        self.steps, self.smoothing = steps, smoothing
        self.device, self.batch_size, self.processes = device, batch_size, processes
        self._fits: dict[int, tuple[Tensor, LogME]] = {}

    pictures, images, all = Former("samples"), Former("samples"), Former("load_all")
    once, posterior = Former("plain_features"), Former("features_and_logme")

    @property
    def task(self) -> TaskLoss:
        """A new task loss."""
        return TaskLoss(self.labels, self.smoothing)

    @property
    def example(self) -> Any:
        """A small batch of samples."""
        return self.samples.batch(range(min(2, len(self.samples))))

    def load(self, k: int = 0) -> HeadedModel:
        """A fresh copy of the k-th model with a new head."""
        if isinstance(self.samples, TextDataset):
            some = self.samples.batch(range(min(self.batch_size, len(self.samples))))
            return text_model(self.sources[k], self.labels, some)
        return from_source(
            self.sources[k],
            self.labels.outputs,
            self.example,
            shift=self.labels.mean,
            scale=self.labels.std,
        )

    def load_all(self) -> list[HeadedModel]:
        """Fresh copies of all models."""
        return [self.load(k) for k in range(len(self.sources))]

    def load_image_model(self, k: int = 0) -> TransferModel:
        """A fresh copy of the k-th model, for methods that are for images only."""
        model = self.load(k)
        if not isinstance(model, TransferModel):
            raise TypeError(f"samples must be images, got {type(self.samples).__name__}")
        return model

    def load_image_models(self) -> list[TransferModel]:
        """Fresh copies of all models, for methods that are for images only."""
        return [self.load_image_model(k) for k in range(len(self.sources))]

    def teachers(self) -> Teachers | CachedTeachers:
        """What gives the features of all models; computed once where samples are not augmented."""
        if self.samples.augment is not None:
            return Teachers(self.load_all())
        return CachedTeachers([self.features_and_logme(k)[0] for k in range(len(self.sources))])

    def features_and_logme(self, k: int) -> tuple[Tensor, LogME]:
        """Features `(n, D)` of the k-th model as it came, and their LogME; computed once."""
        if k not in self._fits:
            features = self.features_of(k, self.samples)
            self._fits[k] = features, LogME.fit(features, self.samples.data.targets)
        return self._fits[k]

    def features_of(self, k: int, samples: SampleDataset) -> Tensor:
        """Features `(n, D)` of the k-th model as it came, of `samples`, not augmented.

        Texts are read as `rank` reads them, each model by its own tokenizer.
        """
        if isinstance(samples, TextDataset):
            return self._read(k, samples)
        return self.cached(Teachers([self.load(k)]), _plain(samples)).values[0]

    def means_of(self, student: HeadedModel) -> Tensor:
        """LogME's posterior means `(C, D)` on the features of the first model, as it starts."""
        if not isinstance(self.samples, TextDataset):
            return self.features_and_logme(0)[1].means
        student.to(self.device)
        with eval_mode(student), torch.no_grad():  # layers that are new in it count as well
            batches = in_order(self.samples, self.batch_size, self.processes)
            features = torch.cat([student.features(batch) for batch, _, _ in batches])
        features = self.processes.whole(features, len(self.samples))
        return LogME.fit(features, self.samples.data.targets).means

    def plain_features(self, models: Sequence[HeadedModel]) -> list[Tensor]:
        """Features of the training images, not augmented, `(n, D)` of each model."""
        return self.cached(Teachers(models), _plain(self.samples)).values

    def cached(self, teachers: Teachers, samples: SampleDataset) -> CachedTeachers:
        """What `teachers` say about `samples`, in batches as large as in training."""
        return cache(
            teachers,
            samples,
            batch_size=self.batch_size,
            device=self.device,
            processes=self.processes,
        )

    def _read(self, k: int, samples: TextDataset) -> Tensor:
        own = torch.tensor(self.processes.part(len(samples)), device="cpu")
        options = Extraction(batch_size=self.batch_size, device=self.device)
        batches = self.sources[k].load().batches(samples.data.subset(own), options)
        features = torch.cat([batch.features for batch in batches]).to(self.device)
        return self.processes.whole(features, len(samples))


def _plain(samples: SampleDataset) -> SampleDataset:
    """The samples without augmentation."""
    if isinstance(samples, ImageDataset) and samples.augment is not None:
        return ImageDataset(samples.data, samples.labels, samples.framing)
    return samples
