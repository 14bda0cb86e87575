"""hubfast: rank, tune and compare a hub of pre-trained models on a small target data set."""

from hubfast.data import TargetData, as_target_data
from hubfast.hub import as_hub, as_source
from hubfast.ranking import Ranking, rank

__version__ = "0.1.0"
__all__ = ["Ranking", "TargetData", "__version__", "as_hub", "as_source", "as_target_data", "rank"]
