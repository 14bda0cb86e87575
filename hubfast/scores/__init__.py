"""Transferability scores: how well a model's features suit a target task, without fine-tuning."""

from hubfast.scores.hscore import HScore, h_score, regularized_h_score
from hubfast.scores.leep import Leep, leep
from hubfast.scores.logme import LogME, logme
from hubfast.scores.nce import Nce, nce
from hubfast.scores.statistics import FeatureStatistics

__all__ = [
    "FeatureStatistics",
    "HScore",
    "Leep",
    "LogME",
    "Nce",
    "h_score",
    "leep",
    "logme",
    "nce",
    "regularized_h_score",
]
