"""NCE: negative conditional entropy of target labels given a source classifier's labels.

Tran, Nguyen, Hassner: "Transferability and Hardness of Supervised Classification Tasks", ICCV 2019.
"""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hubfast.scores.inputs import as_targets


def nce(source_labels: Any, targets: Any) -> float:
    """-H(target | source label) in nats: at most 0, higher is better.

    Args:
        source_labels: `(n,)` integers, the class that the source model predicts (argmax).
        targets: `(n,)` integer classes.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return Nce.fit(source_labels, targets).score


@dataclass(frozen=True, eq=False)
class Nce:
    """A fitted NCE score with the influence of each sample on it."""

    score: float
    influence: Tensor = field(repr=False)  # log P(y_i | z_i), (n,), mean = score

    @classmethod
    def fit(cls, source_labels: Any, targets: Any) -> "Nce":
        """Arguments as in `nce`."""
        z = _labels(source_labels, "source_labels")
        y = _labels(targets, "targets").to(z.device)
        if len(z) != len(y) or not len(z):
            raise ValueError(f"source_labels and targets differ: {len(z)} and {len(y)} labels")
        sources, source_index = z.unique(return_inverse=True)
        classes, index = y.unique(return_inverse=True)
        pairs = (source_index * len(classes) + index).bincount(
            minlength=len(sources) * len(classes)
        )
        joint = pairs.reshape(len(sources), len(classes)).double()
        given = joint / joint.sum(1, keepdim=True)  # P(y | z), every source label has a sample
        by_sample = given[source_index, index].log()
        return cls(float(by_sample.mean()), by_sample)


def _labels(labels: Any, name: str) -> Tensor:
    try:
        return as_targets(labels, len(labels), "classification")[0]
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error
