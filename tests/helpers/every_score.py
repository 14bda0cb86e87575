"""Every score of the registry that sees data, from features and targets alone."""

import math

import numpy as np
import torch

from hubfast.scores import FeatureStatistics
from hubfast.scores.registry import SCORES, names_of

OF_FEATURES = names_of(needs=["statistics", "samples"])
OF_DATA = names_of(needs=["statistics", "samples", "logits", "labels"])
PHRASES = {
    "at least 0": (0.0, math.inf),
    "at most 0": (-math.inf, 0.0),
    "unbounded": (-math.inf, math.inf),
    "accuracy": (0.0, 1.0),
}


def fitted(name, features, targets, task="classification"):
    """The score, where one of outputs takes the features for logits."""
    score = SCORES[name]
    match score.needs:
        case "statistics":
            return score.fit(FeatureStatistics(task).update(features, targets))
        case "samples":
            return score.fit_samples(features, targets, task)
        case "logits":
            return score.fit(torch.as_tensor(features).double().softmax(1), targets)
        case "labels":
            return score.fit(torch.as_tensor(features).argmax(1), targets)


def value(name, features, targets, task="classification"):
    return fitted(name, features, targets, task).score


def influence(name, features, targets, task="classification"):
    """The influence of every sample."""
    found = fitted(name, features, targets, task)
    by_sums = SCORES[name].needs == "statistics"
    return found.influence(features, targets) if by_sums else found.influence()


def bounds(name, targets):
    """What the range in the record's words is for these classes."""
    text = SCORES[name].range
    for phrase, ends in PHRASES.items():
        if phrase in text:
            return ends
    shares = np.unique(targets, return_counts=True)[1] / len(targets)
    known = {"C": len(shares), "H": float(-(shares * np.log(shares)).sum())}
    low, high = (end.replace("C (", "C * (").replace("H(y)", "H") for end in text.split(" to "))
    return eval(low, known), eval(high, known)
