"""When a race looks at its models, and whether there is a race at all."""

from collections.abc import Sequence

from hubfast.data.order import block_ends
from hubfast.scores.registry import SCORES

PER_CLASS = 8  # samples of each class, on average, that the first look is of


def look_sizes(
    n_samples: int, n_classes: int, ends: Sequence[int] | None = None
) -> tuple[int, ...]:
    """How many samples the models have seen at each look of a race, ascending; the last is all.

    Every look is at a boundary of `data.order.block_ends`: 128, 256, 512, 1,024 and then every
    1,024 samples. The first is at least 8 samples for each class, the others double it.

    Args:
        n_samples: Samples that a score is of once everything was seen: N.
        n_classes: Classes, or target columns.
        ends: Where blocks really end, if whole clusters have moved these ends: each look is then
            at the first of them that is not before it. None for `block_ends`.

    Returns:
        `(N,)` where N is no more than the first look.

    Raises:
        ValueError: An argument is below 1.
    """
    for name, value in (("n_samples", n_samples), ("n_classes", n_classes)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    usual = block_ends(n_samples)
    size, sizes = next((end for end in usual if end >= PER_CLASS * n_classes), n_samples), []
    while size < n_samples:
        sizes.append(size)
        size *= 2
    if ends is None:
        return (*sizes, n_samples)
    return tuple(sorted({min(end for end in ends if end >= size) for size in (*sizes, n_samples)}))


def samples_scored(metric: str, n_samples: int, kept: int) -> int:
    """The samples that a score is of once all were seen: the N of its race.

    Args:
        metric: The score.
        n_samples: Samples of the data.
        kept: Samples whose features are kept, for scores that need the features themselves.
    """
    return min(n_samples, kept) if SCORES[metric].needs == "samples" else n_samples


def check_race(metrics: Sequence[str]) -> None:
    """Refuses metrics by which models cannot be raced.

    Raises:
        ValueError: There are several, or the one does not look at samples.
    """
    if len(metrics) != 1:
        raise ValueError(
            f"a race needs one metric, got {list(metrics)}: their consensus counts how many of "
            "the other models each one beats, so it changes whenever one of these stops; race by "
            "one of them, or rank without a race"
        )
    if SCORES[metrics[0]].needs == "nothing":
        raise ValueError(
            f"there is nothing to race by {metrics[0]!r}: it does not look at the samples"
        )


def nothing_to_race(n_models: int, top: int, looks: Sequence[int]) -> str:
    """Why every model has to see all samples anyway; empty where a race can stop some.

    Args:
        n_models: The models of the hub.
        top: How many of them are wanted.
        looks: What `look_sizes` gave.
    """
    if n_models == 1:
        return "there is nothing to race: the hub has one model"
    if top >= n_models:
        return f"there is nothing to race: top is {top}, and the hub has {n_models} models"
    if len(looks) < 3:
        return (
            f"there is nothing to race: {looks[-1]:,} samples are too few to look at them twice "
            "before the end"
        )
    return ""
