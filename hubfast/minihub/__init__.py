"""The mini-hub: small models really trained here on known tasks, and scarce target tasks.

For demonstrations, tests and benchmarks without a network. The demo's models come trained, `build`
trains the others on first use, and `truth` fine-tunes them to know what a ranking should say.
"""

from hubfast.minihub.files import cache_dir, shipped_dir
from hubfast.minihub.fine_tuning import Truth, truth
from hubfast.minihub.models import MODELS, ModelSpec, build, is_shipped, load, model_names
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
    "is_shipped",
    "load",
    "load_target",
    "model_names",
    "shipped_dir",
    "target_names",
    "truth",
]
