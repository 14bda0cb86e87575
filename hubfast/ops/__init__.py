"""The public ops. Each checks its arguments, chooses a backend and calls it."""

from hubfast.ops.bss.op import bss
from hubfast.ops.evidence.op import evidence, evidence_batch
from hubfast.ops.evidence.reference import EvidenceInputs
from hubfast.ops.linalg.gram import add_gram, add_moments, class_sums
from hubfast.ops.linalg.spectrum import (
    resolvent_backend,
    spectrum,
    spectrum_batch,
    truncated_svd,
)
from hubfast.ops.routing.dispatch import combine, dispatch
from hubfast.ops.routing.op import route
from hubfast.ops.zoo_conv.aggregate import aggregate, align
from hubfast.ops.zoo_conv.op import zoo_conv
from hubfast.ops.zoo_conv.sample_conv import sample_conv
from hubfast.utils.moved import moved

__all__ = [
    "EvidenceInputs",
    "add_gram",
    "add_moments",
    "aggregate",
    "align",
    "bss",
    "class_sums",
    "combine",
    "dispatch",
    "evidence",
    "evidence_batch",
    "resolvent_backend",
    "route",
    "sample_conv",
    "spectrum",
    "spectrum_batch",
    "truncated_svd",
    "zoo_conv",
]

__getattr__ = moved(
    "hubfast.ops",
    {
        "Problem": "hubfast.ops.EvidenceInputs",
        "evidences": "hubfast.ops.evidence_batch",
        "spectra": "hubfast.ops.spectrum_batch",
    },
)
