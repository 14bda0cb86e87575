"""The former name of `hubfast.ops`, kept for one release."""

import warnings

from hubfast.ops import *  # noqa: F403
from hubfast.utils.moved import moved

warnings.warn("hubfast.functional is now hubfast.ops", DeprecationWarning, stacklevel=2)

__getattr__ = moved(
    "hubfast.functional",
    {
        "Problem": "hubfast.ops.EvidenceInputs",
        "evidences": "hubfast.ops.evidence_batch",
        "spectra": "hubfast.ops.spectrum_batch",
    },
)
