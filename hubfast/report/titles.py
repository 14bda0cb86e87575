"""How a score is called and what its unit is."""

from hubfast.ranking.table import Ranking

TITLES = {
    "logme": "LogME",
    "h_score": "H-score",
    "regularized_h_score": "Regularised H-score",
    "leep": "LEEP",
    "nce": "NCE",
}
UNITS = {"logme": "nats per sample", "leep": "nats per sample", "nce": "nats per sample"}


def metric_title(ranking: Ranking) -> str:
    """`LogME`; the name itself of a score that is not hubfast's own."""
    return TITLES.get(ranking.metric, ranking.metric)


def metric_axis(ranking: Ranking) -> str:
    """With its unit, if it has one."""
    unit = UNITS.get(ranking.metric)
    return f"{metric_title(ranking)}, {unit}" if unit else metric_title(ranking)
