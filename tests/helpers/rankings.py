"""Rankings to draw, with names that nobody should trust."""

from dataclasses import replace

from hubfast.ranking.result import MetricScore, RankedModel, Ranking, Seconds

NAMES = [
    "resnet50.a1_in1k",
    "<script>alert('x')</script>",
    "модель-特徴 $x^2$ & \\frac{",
    "a_very_long_name_" * 12,
    "\udcff.npy",
    'quotes " and \x07',
]


def ranking(count=6, metric="logme", **changes):
    models = [
        RankedModel(
            NAMES[i] if i < len(NAMES) else f"net_{i}",
            score=0.7 - 0.0513 * i,
            low=0.69 - 0.0513 * i,
            high=0.72 - 0.0513 * i,
            tied=i < 2,
            width=64 * (i + 1),
            parameters=1234567 * (count - i),
            seconds=Seconds(0.1, 0.2 + i, 0.3 * (i + 1), 0.04),
        )
        for i in range(count)
    ]
    failed = RankedModel("broken <b>", error="ValueError: no & such <file>")
    told = {"data": "flowers", "task": "classification", "samples": 250, "classes": 5}
    made = Ranking((*models, failed), metric=metric, **{**told, **changes})
    accuracies = {m.name: 0.9 - 0.01 * i**2 for i, m in enumerate(models)}
    return made.with_column("fine-tuned <accuracy>", accuracies)


def several(count=6, metrics=("logme", "knn", "leep"), **changes):
    """By several metrics: each a little different, the last one missing for the second model."""
    alone = ranking(count)
    models = []
    for i, m in enumerate(alone.scored):
        scores = {
            metric: MetricScore(m.score - 0.1 * ((i + k) % 3), m.low, m.high, m.tied, 0.1)
            for k, metric in enumerate(metrics)
        }
        if i == 1:
            scores[metrics[-1]] = MetricScore(error="ValueError: no <logits> & none to be had")
        models.append(replace(m, scores=scores, spec=f"timm:net {i}"))
    told = {"metric": "consensus", "metrics": tuple(metrics), "location": "my photos", **changes}
    return replace(alone, models=(*models, *alone.failed), **told)


def shown(name):
    return name.encode("utf-8", "replace").decode()
