"""Every op in plain torch, float64-capable: the specification, the fallback, the tests' truth."""

from hubfast.reference.evidence import (
    GRID_STEP,
    NEWTON_STEPS,
    NEWTON_TOLERANCE,
    T_FLOOR,
    Climb,
    EvidenceMaximum,
    climb,
    evidence,
    newton,
    profile_evidence,
    profile_value,
    search_range,
    second_peaks,
)
from hubfast.reference.fixed_point import FixedPoint, fixed_point, mackay
from hubfast.reference.linear import add_gram, add_moments, spectrum, truncate, truncated_svd

__all__ = [
    "GRID_STEP",
    "NEWTON_STEPS",
    "NEWTON_TOLERANCE",
    "T_FLOOR",
    "Climb",
    "EvidenceMaximum",
    "FixedPoint",
    "add_gram",
    "add_moments",
    "climb",
    "evidence",
    "fixed_point",
    "mackay",
    "newton",
    "profile_evidence",
    "profile_value",
    "search_range",
    "second_peaks",
    "spectrum",
    "truncate",
    "truncated_svd",
]
