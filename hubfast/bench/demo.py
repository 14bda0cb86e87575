"""The demonstration: the mini-hub ranked for a target, beside its really fine-tuned quality."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

from hubfast.minihub import (
    TARGETS,
    Truth,
    build,
    is_shipped,
    model_names,
    target_names,
    truth,
)
from hubfast.ranking.result import Ranking
from hubfast.ranking.run import rank
from hubfast.scores.registry import Metric


@dataclass(frozen=True)
class Demo:
    """Result of the demonstration."""

    ranking: Ranking  # with a column of fine-tuned qualities
    title: str  # title of that column
    how: str  # in sentences: where the models and the column come from


def demo(
    target: str | None = None,
    *,
    metric: Metric = "logme",
    full: bool = False,
    seeds: int = 1,
    rebuild: bool = False,
    on_ranking: Callable[[Ranking], object] = lambda ranking: None,
    progress: bool = True,
) -> Demo:
    """Ranks the mini-hub for one of its targets, beside what fine-tuning every model gives.

    Args:
        target: Name of the target; None for the demo's.
        metric: The metric, as in `rank`.
        full: Whether to take all models, and not the demo's only.
        seeds: Number of fine-tuning runs, which are averaged.
        rebuild: Whether to train and fine-tune the models here, though they come with hubfast.
        on_ranking: Called with the ranking where models must be fine-tuned after it, which takes
            minutes.
        progress: Show bars.

    Raises:
        ValueError: The target is unknown.
    """
    target = target or next(spec.name for spec in TARGETS if spec.in_demo)
    if target not in target_names():
        raise ValueError(f"target must be one of {target_names()}, got {target!r}")
    names = model_names(full=full)
    build(names, rebuild=rebuild, progress=progress)
    ranking = rank(
        [f"minihub:{name}" for name in names],
        f"minihub:{target}",
        metric=metric,
        progress=progress,
    )
    runs = truth(
        [target],
        full=full,
        seeds=seeds,
        rebuild=rebuild,
        on_missing=lambda: on_ranking(ranking),
        progress=progress,
    )
    title = f"fine-tuned {runs[0].metric}"
    return Demo(ranking.with_column(title, _means(runs)), title, _how(names, runs))


def _means(runs: Sequence[Truth]) -> dict[str, float]:
    by_model = defaultdict(list)
    for run in runs:
        by_model[run.model].append(run.value)
    return {name: mean(values) for name, values in by_model.items()}


def _how(names: Sequence[str], runs: Sequence[Truth]) -> str:
    """Where the models and their fine-tuned qualities come from."""
    shipped = sum(is_shipped(name) for name in names)
    models = "All models come with hubfast"
    if shipped < len(names):
        some = f"{shipped} models come with hubfast, {len(names) - shipped}" if shipped else "All"
        models = f"{some} were trained on this machine"
    known = [run for run in runs if run.shipped]
    minutes = sum(run.seconds for run in runs) / 60
    where = "on this machine" if not known else "when hubfast was released"
    if known and len(known) < len(runs):
        where = f"for {len(known)} of {len(runs)} runs when hubfast was released, else here"
    return (
        f"{models}; their scores were computed now. The fine-tuned column is what training each of "
        f"them on the target's training part gave, at the best of three learning rates, {where} "
        f"({minutes:.1f} min in all); `hubfast demo --rebuild` does it all here."
    )
