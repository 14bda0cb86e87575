"""The former name of `hubfast.bench.ranking`, kept for one release."""

import warnings

from hubfast.bench.ranking import *  # noqa: F403
from hubfast.utils.moved import moved

warnings.warn("hubfast.evaluation is now hubfast.bench.ranking", DeprecationWarning, stacklevel=2)

__getattr__ = moved(__name__, {"Evaluation": "hubfast.bench.ranking.ScoreStudy"})
