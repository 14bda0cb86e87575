"""Hub-Pathway: training and serving a hub of any models, each sample on k of them."""

from hubfast.pathway.cached import cached_features
from hubfast.pathway.generator import PathwayGenerator, pathway_generator
from hubfast.pathway.models import HubModel
from hubfast.pathway.module import HubPathway

__all__ = [
    "HubModel",
    "HubPathway",
    "PathwayGenerator",
    "cached_features",
    "pathway_generator",
]
