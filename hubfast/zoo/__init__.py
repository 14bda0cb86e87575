"""Zoo-Tuning: models of one architecture, aggregated for each sample at the cost of one model."""

from hubfast.utils.moved import moved
from hubfast.zoo.ancestry import kinship, strangers
from hubfast.zoo.checkpoints import load_backbone
from hubfast.zoo.gate import Gate, LiteGate
from hubfast.zoo.layers import ZooConv1d, ZooConv2d, ZooConv3d, ZooLinear
from hubfast.zoo.module import ZooTuning
from hubfast.zoo.planner import plan

__all__ = [
    "Gate",
    "LiteGate",
    "ZooConv1d",
    "ZooConv2d",
    "ZooConv3d",
    "ZooLinear",
    "ZooTuning",
    "kinship",
    "load_backbone",
    "plan",
    "strangers",
]

__getattr__ = moved(
    __name__,
    {name: f"hubfast.bench.cost.{name}" for name in ("CostRow", "cost_rows")},
)
