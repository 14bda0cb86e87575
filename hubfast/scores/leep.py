"""LEEP: log expected empirical prediction of target labels from a source classifier's output.

Nguyen, Hassner, Seeger, Archambeau: "LEEP: A New Measure to Evaluate Transferability of Learned
Representations", ICML 2020.
"""

from typing import Any

import torch
from torch import Tensor

from hubfast.ops import class_sums
from hubfast.scores.fitted import SampleScore
from hubfast.scores.inputs import as_features, as_targets
from hubfast.scores.score import CLASSES, NATS, Score

SUM_TOLERANCE = 1e-2  # rows of bf16 softmax outputs add up to 1 within about 1 %


def leep(probabilities: Any, targets: Any) -> float:
    """LEEP of a source classifier's probabilities for the targets.

    mean_i log sum_z P(y_i | z) theta_iz with P(y, z) = 1/n sum_{i: y_i = y} theta_iz. At most 0,
    higher is better; -H(y) where the outputs say nothing of the targets.

    Args:
        probabilities: theta, `(n, Cs)` softmax outputs over the source classes; not logits.
        targets: `(n,)` integer classes.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return LEEP.fit(probabilities, targets).score


class LEEP(SampleScore):
    """A fitted LEEP score with the influence of each sample on it; their mean is the score."""

    @classmethod
    def fit(cls, probabilities: Any, targets: Any) -> "LEEP":
        """Fits probabilities and targets; arguments as in `leep`."""
        theta = as_features(probabilities, "probabilities").double()
        y, _ = as_targets(targets, len(theta), "classification")
        _check_probabilities(theta)
        theta = theta / theta.sum(1, keepdim=True)  # rows of float32 softmax are off by 1e-7
        count = len(theta)
        classes, index = y.to(theta.device).unique(return_inverse=True)
        joint = class_sums(theta, index, len(classes)) / count
        mass = joint.sum(0)  # P(z)
        mass = torch.where(mass > 0, mass, 1)  # no sample has a source class of no mass
        given = joint / mass  # P(y | z), (C, Cs); 1 / mass itself may overflow
        expected = (given[index] * theta).sum(1)  # (n,)

        # Weighting sample i also moves the table: by sum_z theta_iz (a_{y_i z} - b_z) with
        # a_yz = 1/n sum_{j: y_j = y} theta_jz / expected_j / P(z), b_z = sum_y P(y | z) a_yz.
        pulls = (theta / expected[:, None]) / count
        pull = class_sums(pulls, index, len(classes)) / mass
        average = (given * pull).sum(0)
        moved = (theta * (pull[index] - average)).sum(1)
        score = expected.log().mean()
        return cls(float(score), expected.log() + moved)


def _check_probabilities(theta: Tensor) -> None:
    if bool((theta < 0).any()):
        raise ValueError("probabilities must be >= 0; apply softmax to logits first")
    off = (theta.sum(1) - 1).abs().max()
    if float(off) > SUM_TOLERANCE:
        raise ValueError(
            f"probabilities must add up to 1 in each row, got a row off by {float(off):.3g}; "
            "apply softmax to logits first"
        )


SCORE = Score(
    name="leep",
    title="LEEP",
    unit=NATS,
    range="-H(y) to 0",
    tasks=CLASSES,
    needs="logits",
    fit=LEEP.fit,
    meaning=(
        "LEEP is the mean log-likelihood of the targets when each is predicted from the source "
        "classifier&rsquo;s probabilities alone, through the table of source and target classes "
        "counted on the same samples. It is in nats per sample, at most 0, and higher is better; "
        "where the outputs say nothing of the targets it is &minus;H(<var>y</var>), minus the "
        "targets&rsquo; entropy. It needs the source classifier, so models without one cannot be "
        "scored. Compare it only between models on the same samples and targets: its floor falls "
        "with the number of classes. The table is fitted to the samples it is judged on, so with "
        "few samples it flatters models with many source classes. It does not see the features."
    ),
    source=(
        "Nguyen, Hassner, Seeger, Archambeau: <cite>LEEP: A New Measure to Evaluate "
        "Transferability of Learned Representations</cite>, ICML 2020. <a "
        'href="https://arxiv.org/abs/2002.12462" rel="noreferrer">arXiv:2002.12462</a>'
    ),
)
