"""Ranking a hub for a target task, without fine-tuning any of its models."""

from hubfast.ranking.run import rank
from hubfast.ranking.table import MetricScore, RankedModel, Ranking, Seconds

__all__ = ["MetricScore", "RankedModel", "Ranking", "Seconds", "rank"]
