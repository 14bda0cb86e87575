"""The demonstration: the mini-hub ranked for a target, beside its really fine-tuned quality."""

from collections import defaultdict
from statistics import mean

from hubfast.minihub import TARGETS, build, model_names, target_names, truth
from hubfast.ranking.run import rank
from hubfast.ranking.table import Ranking
from hubfast.scores.metric import Metric


def demo(
    target: str | None = None,
    *,
    metric: Metric = "logme",
    full: bool = False,
    seeds: int = 1,
    progress: bool = True,
) -> tuple[Ranking, str]:
    """Ranks the mini-hub for one of its targets, and fine-tunes every model to compare.

    Args:
        target: Name of the target; None for the demo's.
        metric: As in `rank`.
        full: All models, not the demo's only.
        seeds: Fine-tuning runs, averaged.
        progress: Show bars.

    Returns:
        The ranking, and the title of its column with the fine-tuned qualities.

    Raises:
        ValueError: Unknown target.
    """
    target = target or next(spec.name for spec in TARGETS if spec.in_demo)
    if target not in target_names():
        raise ValueError(f"target must be one of {target_names()}, got {target!r}")
    names = model_names(full=full)
    build(names, progress=progress)
    ranking = rank(
        [f"minihub:{name}" for name in names],
        f"minihub:{target}",
        metric=metric,
        progress=progress,
    )
    found = truth([target], full=full, seeds=seeds, progress=progress)
    runs = defaultdict(list)
    for run in found:
        runs[run.model].append(run.value)
    title = f"fine-tuned {found[0].metric}"
    return ranking.with_column(title, {name: mean(values) for name, values in runs.items()}), title
