"""Tuning: from a ranked hub to a better model, with regularisers, teachers or several models.

`tune` does it all in one call; `Trainer` trains any method, `build` makes one by name.
"""

from hubfast.tuning.baselines import Baseline
from hubfast.tuning.context import TuningContext
from hubfast.tuning.evaluation import Evaluation, evaluate, predict
from hubfast.tuning.history import History
from hubfast.tuning.images import ImageDataset
from hubfast.tuning.labels import TargetEncoder, aligned
from hubfast.tuning.lost import ProcessLost
from hubfast.tuning.methods.ensemble import Ensemble
from hubfast.tuning.methods.knowledge_flow import KnowledgeFlow
from hubfast.tuning.methods.registry import Method, build
from hubfast.tuning.methods.stoch_norm import StochNorm, plain_norm, stoch_norm
from hubfast.tuning.objective import ForwardPass, Objective, Regularised, TaskLoss, TrainingDiverged
from hubfast.tuning.pretrained import TransferModel, from_source
from hubfast.tuning.recipe import Recipe
from hubfast.tuning.result import Tuned
from hubfast.tuning.teachers import CachedTeachers, Teachers, cache
from hubfast.tuning.terms.b_tuning import BTuning, b_tuning, teacher_weights
from hubfast.tuning.terms.bss import BSS, bss
from hubfast.tuning.terms.co_tuning import CoTuning, category_relationship, co_tuning
from hubfast.tuning.terms.delta import DELTA, channel_attention, delta
from hubfast.tuning.terms.kd import KD, SoftTargets, kd, soft_targets
from hubfast.tuning.terms.l2_sp import L2SP, l2_sp
from hubfast.tuning.text_model import TextModel
from hubfast.tuning.texts import TextBatch, TextDataset
from hubfast.tuning.trainer import Trainer
from hubfast.tuning.tune import tune
from hubfast.utils.moved import moved

__all__ = [
    "BSS",
    "DELTA",
    "KD",
    "L2SP",
    "BTuning",
    "Baseline",
    "CachedTeachers",
    "CoTuning",
    "Ensemble",
    "Evaluation",
    "ForwardPass",
    "History",
    "ImageDataset",
    "KnowledgeFlow",
    "Method",
    "Objective",
    "ProcessLost",
    "Recipe",
    "Regularised",
    "SoftTargets",
    "StochNorm",
    "TargetEncoder",
    "TaskLoss",
    "Teachers",
    "TextBatch",
    "TextDataset",
    "TextModel",
    "Trainer",
    "TrainingDiverged",
    "TransferModel",
    "Tuned",
    "TuningContext",
    "aligned",
    "b_tuning",
    "bss",
    "build",
    "cache",
    "category_relationship",
    "channel_attention",
    "co_tuning",
    "delta",
    "evaluate",
    "from_source",
    "kd",
    "l2_sp",
    "plain_norm",
    "predict",
    "soft_targets",
    "stoch_norm",
    "teacher_weights",
    "tune",
]

RENAMED = {
    "Delta": "DELTA",
    "Labels": "TargetEncoder",
    "Pictures": "ImageDataset",
    "Pretrained": "TransferModel",
    "Seen": "ForwardPass",
    "Setting": "TuningContext",
}
__getattr__ = moved(__name__, {old: f"{__name__}.{new}" for old, new in RENAMED.items()})
