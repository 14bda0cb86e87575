"""How good scores are: their agreement with what fine-tuning really gave."""

from hubfast.bench.ranking.hub_rows import HubDesign
from hubfast.bench.ranking.measures import Measures, measure
from hubfast.bench.ranking.minihub import minihub_records
from hubfast.bench.ranking.of_hub import hub_records
from hubfast.bench.ranking.records import Records, read_records
from hubfast.bench.ranking.table import ScoreStudy, evaluate
from hubfast.utils.moved import moved

__all__ = [
    "HubDesign",
    "Measures",
    "Records",
    "ScoreStudy",
    "evaluate",
    "hub_records",
    "measure",
    "minihub_records",
    "read_records",
]

__getattr__ = moved(__name__, {"Evaluation": "hubfast.bench.ranking.ScoreStudy"})
