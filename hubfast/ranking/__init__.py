"""Ranking a hub for a target task, without fine-tuning any of its models."""

from hubfast.ranking.run import rank
from hubfast.ranking.table import RankedModel, Ranking, Seconds

__all__ = ["RankedModel", "Ranking", "Seconds", "rank"]
