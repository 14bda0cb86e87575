"""Public ops: check shapes, choose a backend, call it. A file a family of ops."""

from hubfast.ops.bss.op import bss
from hubfast.ops.evidence.op import Problem, evidence, evidences
from hubfast.ops.linalg.gram import add_gram, add_moments, class_sums
from hubfast.ops.linalg.spectrum import resolvent_backend, spectra, spectrum, truncated_svd
from hubfast.ops.routing.op import combine, dispatch, route
from hubfast.ops.zoo_conv.op import zoo_conv
from hubfast.ops.zoo_conv.sample_conv import aggregate, align, sample_conv

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
