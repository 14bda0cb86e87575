"""Hub-Pathway: training and serving a hub of any models, each sample on k of them."""

from hubfast.pathway.diagnostics import LoadHistory, balance
from hubfast.pathway.features import cached_features
from hubfast.pathway.generator import PathwayGenerator, pathway_generator
from hubfast.pathway.models import HubModel
from hubfast.pathway.module import HubPathway
from hubfast.pathway.survey import RoutingSurvey, survey
from hubfast.utils.moved import moved

__getattr__ = moved("hubfast.pathway", {"Survey": "hubfast.pathway.survey.RoutingSurvey"})

__all__ = [
    "HubModel",
    "HubPathway",
    "LoadHistory",
    "PathwayGenerator",
    "RoutingSurvey",
    "balance",
    "cached_features",
    "pathway_generator",
    "survey",
]
