"""The mini-hub: small models really trained here on known tasks, and scarce target tasks.

For demonstrations, tests and benchmarks without a network. `build` trains the models on first
use, `truth` fine-tunes them all to know what a ranking should say.
"""

from hubfast.minihub.fine_tuning import Truth, truth
from hubfast.minihub.models import MODELS, ModelSpec, build, cache_dir, load, model_names
from hubfast.minihub.tasks import TARGETS, Target, TargetSpec, load_target, target_names

__all__ = [
    "MODELS",
    "TARGETS",
    "ModelSpec",
    "Target",
    "TargetSpec",
    "Truth",
    "build",
    "cache_dir",
    "load",
    "load_target",
    "model_names",
    "target_names",
    "truth",
]
