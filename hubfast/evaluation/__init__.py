"""How good scores are: their agreement with what fine-tuning really gave."""

from hubfast.evaluation.measures import Measures, measure
from hubfast.evaluation.minihub import minihub_records
from hubfast.evaluation.records import Records, read_records
from hubfast.evaluation.table import Evaluation, evaluate

__all__ = [
    "Evaluation",
    "Measures",
    "Records",
    "evaluate",
    "measure",
    "minihub_records",
    "read_records",
]
