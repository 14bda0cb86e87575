"""Parameters and multiply-adds of ways to use a hub of M ResNet-50, beside published figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from hubfast.profiling.counts import multiply_adds, operations, parameters
from hubfast.zoo.module import ZooTuning

MODELS, CLASSES, SIZE = 5, 100, 224  # as in the published table: five ResNet-50, CIFAR-100's head
TRAINING_BATCH = 64  # alignment is done once per batch, so its share of a sample depends on it


@dataclass(frozen=True)
class CostRow:
    """What a method costs; multiply-adds are of one sample's forward pass.

    Args:
        method: Name of the method.
        training: Parameters and multiply-adds while it is trained.
        inference: Parameters and multiply-adds when it is used.
        published: Training GFLOPs and millions of parameters, then inference's, as published.
        note: Why the two differ, where they do by more than what the papers' counter adds:
            it counts normalisation, activations and pooling, too (ResNet-50: 4.12 G, not 4.09).
    """

    method: str
    training: tuple[int, int]
    inference: tuple[int, int]
    published: tuple[float, float, float, float] | None = None
    note: str = ""


def cost_rows(more: Sequence[Callable[[], CostRow]] = ()) -> list[CostRow]:
    """Counts the rows of the published table, then those of other methods; allocates nothing."""
    return [row() for row in (single, ensemble, distillation, lite, zoo_tuning, *more)]


def single() -> CostRow:
    """One fine-tuned model."""
    one = _cost(_model())
    return CostRow("single model", one, one, (4.12, 23.71, 4.12, 23.71))


def ensemble() -> CostRow:
    """All models, each fine-tuned by itself."""
    whole = _times(MODELS, _cost(_model()))
    note = "published parameters are 5 x 23.71 rounded"
    return CostRow("ensemble", whole, whole, (20.60, 118.55, 20.60, 118.55), note)


def distillation() -> CostRow:
    """All models as teachers of one more."""
    one = _cost(_model())
    return CostRow("distill", _times(MODELS + 1, one), one, (24.72, 142.28, 4.12, 23.71))


def lite() -> CostRow:
    """Zoo-Tuning with gates that all samples share: folds to one plain model."""
    zoo = _zoo(lite=True)
    one = _cost(zoo.eval().fold())
    note = "inference is exact; " + _TRAINING_NOTE + "; mixes once a batch, not once a sample"
    return CostRow("Lite Zoo-Tuning", _training(zoo), one, (4.53, 130.43, 4.12, 23.71), note)


def zoo_tuning() -> CostRow:
    """Zoo-Tuning, weights mixed for each sample."""
    zoo = _zoo(lite=False)
    training = _training(zoo)
    folded = _cost(zoo.eval().fold())
    parts = inference_parts(zoo)
    counted = {name: f"{number / 1e9:.3f} G" for name, number in parts._asdict().items()}
    note = (
        f"inference parameters are exact; its multiply-adds are {counted['model']} of one model, "
        f"{counted['mixing']} that mix a sample's weights and {counted['gates']} of gates. The "
        f"published 4.18 G may be {parts.as_published / 1e9:.3f} G: {counted['layers']} of a model "
        f"with normalisation, activations and pooling, the gates, and {counted['spatial']} that "
        "mix kernels larger than one (half of all mixing would give 4.18 G, too; the paper does "
        f"not say what it counts); {_TRAINING_NOTE}"
    )
    return CostRow("Zoo-Tuning", training, folded, (4.53, 130.43, 4.18, 122.54), note)


_TRAINING_NOTE = (
    "the published layers' alignment (stem, 3x3 of the last two stages) adds 5.92 M parameters, "
    "not 7.89 M, and 22.65 G multiply-adds a batch, 0.35 G a sample of 64"
)


class InferenceParts(NamedTuple):
    """What a sample's inference by `zoo_tuning` consists of, in multiply-adds."""

    model: int  # convolutions and head of one model
    layers: int  # the same with normalisation, activations and pooling, see `cost.operations`
    gates: int
    mixing: int  # the mixing of all weights
    spatial: int  # of kernels larger than one

    @property
    def counted(self) -> int:
        """The products that `multiply_adds` counts."""
        return self.model + self.gates + self.mixing

    @property
    def as_published(self) -> int:
        """The sum that gives the published figure."""
        return self.layers + self.gates + self.spatial


def inference_parts(zoo: ZooTuning) -> InferenceParts:
    """Counts the parts for five ResNet-50; `zoo` is one of them, as converted."""
    model, image = _model(), torch.empty(1, 3, SIZE, SIZE, device="meta")
    layers = zoo.zoo_layers().values()
    maps = [m.weight for layer in layers for m in (layer.gate.squeeze, layer.gate.select)]
    mixing = [(layer.weight.numel(), max(layer.kernel[2:])) for layer in layers]
    return InferenceParts(
        multiply_adds(model, image),
        operations(model, image),
        sum(weight.numel() for weight in maps),
        sum(number for number, _ in mixing),
        sum(number for number, size in mixing if size > 1),
    )


def _model() -> nn.Module:
    import timm  # slow to import

    with torch.device("meta"):
        return timm.create_model("resnet50", num_classes=CLASSES).eval()


def _zoo(*, lite: bool) -> ZooTuning:
    models = [_model() for _ in range(MODELS)]
    with torch.device("meta"):
        zoo = ZooTuning.from_models(models, CLASSES, lite=lite)
    for layer in zoo.zoo_layers().values():
        layer.form = "mix"  # as published; others spend multiply-adds to save memory traffic
    return zoo


def _cost(module: nn.Module, batch: int = 1) -> tuple[int, int]:
    images = torch.empty(batch, 3, SIZE, SIZE, device="meta")
    return parameters(module), round(multiply_adds(module, images) / batch)


def _training(module: nn.Module) -> tuple[int, int]:
    return _cost(module.train(), TRAINING_BATCH)


def _times(count: int, cost: tuple[int, int]) -> tuple[int, int]:
    return count * cost[0], count * cost[1]
