"""Public ops: check shapes, choose a backend, call it. A file a family of ops."""

from hubfast.functional.bss import bss
from hubfast.functional.evidence import Problem, evidence, evidences
from hubfast.functional.pathway import combine, dispatch, route
from hubfast.functional.spectrum import resolvent_backend, spectra, spectrum, truncated_svd
from hubfast.functional.statistics import add_gram, add_moments, class_sums
from hubfast.functional.zoo import aggregate, align, sample_conv
from hubfast.functional.zoo_conv import zoo_conv

__all__ = [
    "Problem",
    "add_gram",
    "add_moments",
    "aggregate",
    "align",
    "bss",
    "class_sums",
    "combine",
    "dispatch",
    "evidence",
    "evidences",
    "resolvent_backend",
    "route",
    "sample_conv",
    "spectra",
    "spectrum",
    "truncated_svd",
    "zoo_conv",
]
