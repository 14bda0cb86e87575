"""How a score is called and what its unit is."""

from hubfast.ranking.result import Ranking

TITLES = {
    "consensus": "Consensus",
    "logme": "LogME",
    "h_score": "H-score",
    "regularized_h_score": "Regularised H-score",
    "leep": "LEEP",
    "nce": "NCE",
    "n_leep": "N-LEEP",
    "transrate": "TransRate",
    "gbc": "GBC",
    "sfda": "SFDA",
    "parc": "PARC",
    "pactran": "PACTran",
    "knn": "k-NN",
    "linear_probe": "Linear probe",
    "parameters": "Static prior",
    "imagenet": "ImageNet accuracy",
}
NATS = "nats per sample"
UNITS = {
    "consensus": "share of models beaten",
    "logme": NATS,
    "leep": NATS,
    "nce": NATS,
    "n_leep": NATS,
    "transrate": "nats",
    "sfda": NATS,
    "pactran": NATS,
    "parameters": "log\N{SUBSCRIPT ONE}\N{SUBSCRIPT ZERO} of parameters",
    "imagenet": "% top-1",
}


def title_of(metric: str) -> str:
    """`LogME`; the name itself of a score that is not hubfast's own."""
    return TITLES.get(metric, metric)


def metric_title(ranking: Ranking) -> str:
    """Of what the ranking goes by."""
    return title_of(ranking.metric)


def metric_axis(ranking: Ranking) -> str:
    """With its unit, if it has one."""
    unit = UNITS.get(ranking.metric)
    return f"{metric_title(ranking)}, {unit}" if unit else metric_title(ranking)
