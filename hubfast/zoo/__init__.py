"""Zoo-Tuning: models of one architecture, aggregated for each sample at the cost of one model."""

from hubfast.zoo.checkpoints import load_backbone
from hubfast.zoo.cost import CostRow, cost_rows
from hubfast.zoo.gate import Gate, LiteGate
from hubfast.zoo.layers import ZooConv1d, ZooConv2d, ZooConv3d, ZooLinear
from hubfast.zoo.planner import plan
from hubfast.zoo.tuning import ZooTuning

__all__ = [
    "CostRow",
    "Gate",
    "LiteGate",
    "ZooConv1d",
    "ZooConv2d",
    "ZooConv3d",
    "ZooLinear",
    "ZooTuning",
    "cost_rows",
    "load_backbone",
    "plan",
]
