"""Zoo-Tuning as a method: models of one architecture, and what they become for use."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from hubfast.nn.normalization import Normalize
from hubfast.nn.resize import resized
from hubfast.tuning.pretrained import TransferModel
from hubfast.utils.moved import Former
from hubfast.zoo import ZooTuning, strangers


class ZooMethod(nn.Module):
    """A `ZooTuning` of a hub's models that resizes images to the size that they want.

    Args:
        models: At least two models of one architecture and normalisation.
        outputs: How many classes there are.
        prior: How much each model counts at the start; see `ZooTuning.from_models`.
        lite: Gates shared by all samples; `folded` is then one plain model.
        names: What the models are called, for a note where they have no common ancestor.

    Attributes:
        notes: What the user should know of the models.

    Raises:
        ValueError: Models that differ; the message says in what.
    """

    def __init__(
        self,
        models: Sequence[TransferModel],
        outputs: int,
        prior: Sequence[float],
        *,
        lite: bool,
        names: Sequence[str] = (),
    ):
        super().__init__()
        first = models[0]
        if any(not same_architecture(first, other) for other in models[1:]) or len(models) < 2:
            raise ValueError("models must be at least two of one architecture and normalisation")
        self.size = first.size
        said = strangers([model.model for model in models], names) if names else ""
        self.notes = (said,) if said else ()
        self.tuning = ZooTuning.from_models(
            [model.export() for model in models],
            outputs,
            head=first.place or None,
            lite=lite,
            prior=prior,
            mean=first.mean.flatten().tolist(),
            std=first.std.flatten().tolist(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.tuning(resized(images, self.size))

    @torch.no_grad()
    def settle(self, batches: Iterable[Tensor]) -> None:
        """Takes BatchNorm's running statistics anew, as means over `batches` of images.

        They start at 0 and 1, and a run of few steps leaves much of that in their moving averages.
        """
        update_bn(batches, self, device=next(self.parameters()).device)

    def folded(self) -> nn.Module:
        """The network to use, with the alignment in its weights; one plain model if it is Lite."""
        found = self.tuning.fold()
        if self.tuning.lite:
            assert isinstance(self.tuning.normalize, Normalize)
            return Plain(found, self.tuning.normalize, self.size, self.notes)
        self.tuning = found  # type: ignore[assignment]
        return self.eval()


class Plain(nn.Module):
    """A plain model with its normalisation and size in front."""

    def __init__(
        self,
        model: nn.Module,
        normalize: Normalize,
        size: tuple[int, int] | None,
        notes: tuple[str, ...] = (),
    ):
        super().__init__()
        self.model, self.normalize, self.size = model, normalize, size
        self.notes = notes  # of the models that it was made of

    @property
    def mean(self) -> Tensor:
        """What the model subtracts from each channel."""
        return self.normalize.mean

    @property
    def std(self) -> Tensor:
        """What the model divides each channel by."""
        return self.normalize.std

    deviation = Former("std")

    def forward(self, images: Tensor) -> Tensor:
        return self.model(self.prepare(images))

    def prepare(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the model wants them."""
        return self.normalize(resized(images, self.size))

    def export(self) -> nn.Module:
        """The plain model, for normalised input."""
        return self.model


def same_architecture(a: TransferModel, b: TransferModel) -> bool:
    """Whether two models have parameters of the same names and shapes, and one preprocessing."""

    def shapes(model: TransferModel) -> dict[str, torch.Size]:
        return {name: value.shape for name, value in model.model.state_dict().items()}

    normalised = torch.equal(a.mean, b.mean) and torch.equal(a.std, b.std)
    return normalised and a.size == b.size and a.place == b.place and shapes(a) == shapes(b)
