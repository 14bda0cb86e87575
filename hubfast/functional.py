"""The former name of `hubfast.ops`, kept for one release."""

import warnings

from hubfast.ops import *  # noqa: F403

warnings.warn("hubfast.functional is now hubfast.ops", DeprecationWarning, stacklevel=2)
