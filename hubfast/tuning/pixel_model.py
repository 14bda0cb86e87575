"""A transformers classifier of images as a plain module, from pixels to logits."""

from typing import Any

from torch import Tensor, nn

from hubfast.tuning.labels import TargetEncoder

INSIDE = "classifier."  # what names in a PixelModel begin with that those in its model do not

PROBLEMS = {  # as transformers calls the tasks
    "classification": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
}


class PixelModel(nn.Module):
    """A classifier of transformers that takes and gives tensors.

    Args:
        classifier: Such as `AutoModelForImageClassification` loads.
        trained_head: Whether the checkpoint has the classifier's last layer.
    """

    def __init__(self, classifier: nn.Module, *, trained_head: bool):
        super().__init__()
        self.classifier: Any = classifier
        self.trained_head = trained_head

    def forward(self, pixels: Tensor) -> Tensor:
        """`(B, 3, H, W)`, normalised, -> logits `(B, C)`."""
        return self.classifier(pixel_values=pixels).logits


def describe(classifier: Any, labels: TargetEncoder) -> None:
    """Tells a classifier of transformers what its outputs stand for, in its config."""
    classifier.num_labels = labels.outputs
    words = {
        "problem_type": PROBLEMS[labels.task],
        "id2label": dict(enumerate(labels.names)),
        "label2id": {name: k for k, name in enumerate(labels.names)},
    }
    for key, value in words.items():
        setattr(classifier.config, key, value)
