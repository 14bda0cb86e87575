"""Ranking a hub for a target task, without fine-tuning any of its models."""

from hubfast.ranking.result import MetricScore, RankedModel, Ranking, Seconds
from hubfast.ranking.run import rank

__all__ = ["MetricScore", "RankedModel", "Ranking", "Seconds", "rank"]
