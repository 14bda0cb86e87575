"""NCE: negative conditional entropy of target labels given a source classifier's labels.

Tran, Nguyen, Hassner: "Transferability and Hardness of Supervised Classification Tasks", ICCV 2019.
"""

from typing import Any

import torch
from torch import Tensor

from hubfast.scores.fitted import SampleScore
from hubfast.scores.inputs import as_targets
from hubfast.scores.score import CLASSES, NATS, Score


def nce(source_labels: Any, targets: Any) -> float:
    """-H(target | source label) in nats: at most 0, higher is better.

    Args:
        source_labels: `(n,)` integers, the class that the source model predicts (argmax).
        targets: `(n,)` integer classes.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return NCE.fit(source_labels, targets).score


class NCE(SampleScore):
    """A fitted NCE score with the influence of each sample on it; their mean is the score.

    It is exact: n times the score is sum k log k over pairs of labels, of k samples each, less the
    same over source labels, and a sample's influence is what it falls by without the sample. First
    order, log P(y_i | z_i), is too little for the pairs of a few samples, of which there are many.
    """

    @classmethod
    def fit(cls, source_labels: Any, targets: Any) -> "NCE":
        """Fits source labels and targets; arguments as in `nce`."""
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
        each, whole = joint[source_index, index], joint.sum(1)[source_index]
        score = float((each / whole).log().mean())
        left_out = _last_share(each) - _last_share(whole)
        return cls(score, left_out + score - left_out.mean())


def _last_share(count: Tensor) -> Tensor:
    """k log k - (k - 1) log (k - 1) of counts k >= 1, with 0 log 0 = 0."""
    return torch.xlogy(count, count) - torch.xlogy(count - 1, count - 1)


def _labels(labels: Any, name: str) -> Tensor:
    try:
        return as_targets(labels, len(labels), "classification")[0]
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


SCORE = Score(
    name="nce",
    title="NCE",
    unit=NATS,
    range="-H(y) to 0",
    tasks=CLASSES,
    needs="labels",
    fit=NCE.fit,
    growth="late",
    meaning=(
        "NCE is the negative conditional entropy of the targets given the source "
        "classifier&rsquo;s most likely class. It is in nats per sample, between "
        "&minus;H(<var>y</var>), minus the targets&rsquo; entropy, and 0; higher is better. It "
        "needs the source classifier, so models without one cannot be scored. Compare it only "
        "between models on the same samples and targets: its floor falls with the number of "
        "classes. With few samples per source class it is too high, as a class that one sample "
        "has predicts that sample perfectly. It sees neither the features nor how sure the "
        "classifier is."
    ),
    source=(
        "Tran, Nguyen, Hassner: <cite>Transferability and Hardness of Supervised Classification "
        'Tasks</cite>, ICCV 2019. <a href="https://arxiv.org/abs/1908.08142" '
        'rel="noreferrer">arXiv:1908.08142</a>'
    ),
)
