"""Zero-shot accuracy: how often the prompts of the right class are nearest to an image.

Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger, Sutskever:
"Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
"""

from typing import Any

import torch
from torch import Tensor

from hubfast.scores.fitted import SampleScore
from hubfast.scores.inputs import as_features, as_targets
from hubfast.scores.score import CLASSES, Score

SUM_TOLERANCE = 1e-2  # rows of bf16 softmax outputs add up to 1 within about 1 %


def zero_shot(probabilities: Any, targets: Any) -> float:
    """Accuracy of the class with the highest probability; between 0 and 1, higher is better.

    Of c classes that share the highest probability, the right one counts as 1 / c.

    Args:
        probabilities: What the prompts of the classes get, `(n, C)`; logits do as well.
        targets: `(n,)` integer classes, columns of `probabilities`.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return fit_zero_shot(probabilities, targets).score


def fit_zero_shot(probabilities: Any, targets: Any) -> SampleScore:
    """Zero-shot accuracy with the influence of each sample: whether it is right.

    Nothing is fitted to the samples, so a sample moves the score by its own term only.

    Args:
        probabilities: As in `zero_shot`.
        targets: As in `zero_shot`.
    """
    found = as_features(probabilities, "probabilities")
    y, _ = as_targets(targets, len(found), "classification")
    y = y.to(found.device)
    if bool(((y < 0) | (y >= found.shape[1])).any()):
        raise ValueError(f"targets must be columns of probabilities, of which {found.shape[1]} are")
    first = found == found.amax(1, keepdim=True)
    right: Tensor = first.gather(1, y[:, None]).squeeze(1) / first.sum(1, dtype=torch.float64)
    return SampleScore(float(right.mean()), right.cpu())


def fit_confidence(probabilities: Any, targets: Any = None) -> SampleScore:
    """Mean of the highest probability of each sample, with each sample's own as its influence.

    Args:
        probabilities: What the prompts of the classes get, `(n, C)`, rows adding up to 1.
        targets: Not used.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    found = as_features(probabilities, "probabilities").double()
    if bool((found < 0).any()) or float((found.sum(1) - 1).abs().max()) > SUM_TOLERANCE:
        raise ValueError("probabilities must be >= 0 and add up to 1 in each row")
    highest = found.amax(1)
    return SampleScore(float(highest.mean()), highest.cpu())


SCORE = Score(
    name="zero_shot",
    title="Zero-shot",
    unit="",
    range="accuracy",
    tasks=CLASSES,
    needs="prompts",
    fit=fit_zero_shot,
    meaning=(
        "Zero-shot accuracy is the share of images whose embedding is nearest, by cosine, to that "
        "of prompts with the name of their class, such as &ldquo;a photo of a dog.&rdquo; It is "
        "between 0 and 1, higher is better, and 1&thinsp;/&thinsp;<var>C</var> is chance. It is "
        "for models that embed images and texts in one space; others cannot be scored. It misleads "
        "where names do not say what the classes are, and it says how good a model is without any "
        "training, not how good it will be once it is tuned."
    ),
    source=(
        "Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger, "
        "Sutskever: <cite>Learning Transferable Visual Models From Natural Language "
        'Supervision</cite>, ICML 2021. <a href="https://arxiv.org/abs/2103.00020" '
        'rel="noreferrer">arXiv:2103.00020</a>'
    ),
    growth="none",
)

CONFIDENCE = Score(
    name="zero_shot_confidence",
    title="Zero-shot confidence",
    unit="",
    range="1 / C to 1",
    tasks=CLASSES,
    needs="prompts",
    fit=fit_confidence,
    meaning=(
        "Zero-shot confidence is the mean over the images of the highest softmax probability that "
        "prompts with the names of the classes get. It needs no labels, and is between "
        "1&thinsp;/&thinsp;<var>C</var> and 1, higher is better. It is no accuracy: it compares "
        "how sure models are, and a model whose logits have a larger scale is surer whether it is "
        "right or not. Take it where there is no label at all, among models of one kind."
    ),
    source=(
        "Guillory, Shankar, Ebrahimi, Darrell, Schmidt: <cite>Predicting with Confidence on Unseen "
        'Distributions</cite>, ICCV 2021. <a href="https://arxiv.org/abs/2107.03315" '
        'rel="noreferrer">arXiv:2107.03315</a>'
    ),
    page="zero_shot",
    growth="none",
    labels=False,
)
