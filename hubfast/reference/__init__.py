"""Every op in plain torch, float64-capable: the specification, the fallback, the tests' truth."""

from hubfast.reference.aggregate import aggregate, aggregate_backward, align
from hubfast.reference.bss import bss, smaller_gram
from hubfast.reference.dispatch import (
    combine,
    combine_backward,
    dispatch,
    dispatch_backward,
    memory_format,
)
from hubfast.reference.evidence import (
    CURVATURE,
    FLAT,
    GRID_STEP,
    NEWTON_STEPS,
    NEWTON_TOLERANCE,
    T_CEILING,
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
from hubfast.reference.route import Routes, group, route, route_backward
from hubfast.reference.sample_conv import (
    Geometry,
    sample_conv,
    sample_conv_backward,
    zoo_conv,
)

__all__ = [
    "CURVATURE",
    "FLAT",
    "GRID_STEP",
    "NEWTON_STEPS",
    "NEWTON_TOLERANCE",
    "T_CEILING",
    "T_FLOOR",
    "Climb",
    "EvidenceMaximum",
    "FixedPoint",
    "Geometry",
    "Routes",
    "add_gram",
    "add_moments",
    "aggregate",
    "aggregate_backward",
    "align",
    "bss",
    "climb",
    "combine",
    "combine_backward",
    "dispatch",
    "dispatch_backward",
    "evidence",
    "fixed_point",
    "group",
    "mackay",
    "memory_format",
    "newton",
    "profile_evidence",
    "profile_value",
    "route",
    "route_backward",
    "sample_conv",
    "sample_conv_backward",
    "search_range",
    "second_peaks",
    "smaller_gram",
    "spectrum",
    "truncate",
    "truncated_svd",
    "zoo_conv",
]
