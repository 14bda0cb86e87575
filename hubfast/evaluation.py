"""The former name of `hubfast.bench.ranking`, kept for one release."""

import warnings

from hubfast.bench.ranking import *  # noqa: F403

warnings.warn("hubfast.evaluation is now hubfast.bench.ranking", DeprecationWarning, stacklevel=2)
