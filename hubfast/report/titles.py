"""How a score is called and what its unit is."""

from hubfast.ranking.consensus import CONSENSUS
from hubfast.ranking.result import Ranking
from hubfast.scores.registry import SCORES


def title_of(metric: str) -> str:
    """The title of a score, such as `LogME`; the name itself if it is not hubfast's own."""
    if metric == CONSENSUS:
        return "Consensus"
    return SCORES[metric].title if metric in SCORES else metric


def unit_of(metric: str) -> str:
    """The unit of a score; empty if it has none, or is not hubfast's own."""
    if metric == CONSENSUS:
        return "share of models beaten"
    return SCORES[metric].unit if metric in SCORES else ""


def metric_title(ranking: Ranking) -> str:
    """The title of what the ranking goes by."""
    return title_of(ranking.metric)


def metric_axis(ranking: Ranking) -> str:
    """The title of what the ranking goes by, with its unit if it has one."""
    unit = unit_of(ranking.metric)
    return f"{metric_title(ranking)}, {unit}" if unit else metric_title(ranking)
