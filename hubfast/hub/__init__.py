"""Hubs: models from many places behind one interface, each with its own preprocessing."""

from hubfast.hub.model import Batch, Extraction, Model, Source
from hubfast.hub.network import FeatureModule, Network
from hubfast.hub.sources import as_hub, as_source
from hubfast.hub.stored import StoredFeatures

__all__ = [
    "Batch",
    "Extraction",
    "FeatureModule",
    "Model",
    "Network",
    "Source",
    "StoredFeatures",
    "as_hub",
    "as_source",
]
