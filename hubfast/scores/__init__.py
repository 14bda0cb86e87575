"""Transferability scores: how well a model's features suit a target task, without fine-tuning."""

from hubfast.scores.cka import CKA, cka
from hubfast.scores.gbc import gbc
from hubfast.scores.hscore import HScore, h_score, regularized_h_score
from hubfast.scores.knn import knn
from hubfast.scores.leep import LEEP, leep
from hubfast.scores.linear_probe import linear_probe
from hubfast.scores.logme.hub import fit_hub, fit_hub_statistics
from hubfast.scores.logme.logme import LogME, logme
from hubfast.scores.n_leep import n_leep
from hubfast.scores.nce import NCE, nce
from hubfast.scores.pactran import pactran
from hubfast.scores.parc import parc
from hubfast.scores.sfda import sfda
from hubfast.scores.static import imagenet_prior, static_prior
from hubfast.scores.statistics import FeatureStatistics
from hubfast.scores.transrate import transrate
from hubfast.scores.zero_shot import zero_shot
from hubfast.utils.moved import moved

__all__ = [
    "CKA",
    "LEEP",
    "NCE",
    "FeatureStatistics",
    "HScore",
    "LogME",
    "cka",
    "fit_hub",
    "fit_hub_statistics",
    "gbc",
    "h_score",
    "imagenet_prior",
    "knn",
    "leep",
    "linear_probe",
    "logme",
    "n_leep",
    "nce",
    "pactran",
    "parc",
    "regularized_h_score",
    "sfda",
    "static_prior",
    "transrate",
    "zero_shot",
]

__getattr__ = moved(__name__, {"Leep": "hubfast.scores.LEEP", "Nce": "hubfast.scores.NCE"})
