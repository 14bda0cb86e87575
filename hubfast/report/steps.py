"""How to go on from a ranking: the command that fine-tunes with its best models."""

import math
import shlex

from hubfast.ranking.result import Ranking
from hubfast.ranking.rows import RankedModel
from hubfast.report.page import Section, render

MOST = 3  # models to tune with: more teachers hardly helped in the paper on B-Tuning


def tune_command(ranking: Ranking) -> list[str] | None:
    """`hubfast tune ...` with the best models, each option with its value; None if not known.

    Models that only a hub file describes are had through it. Models and data that were Python
    objects, or stored features, have no command.
    """
    best = ranking.ranked[: _count(ranking)]
    if not ranking.location or _unknown(ranking):
        return None
    if all(m.spec is not None for m in best):
        hub = [m.spec or "" for m in best]
    else:
        hub = list(dict.fromkeys(m.hub_file or m.spec or "" for m in best))
    options = [("--hub", spec) for spec in hub]
    options += [("--data", ranking.location), ("--method", "b-tuning"), ("--top", str(len(best)))]
    return ["hubfast tune", *(f"{name} {shlex.quote(value)}" for name, value in options)]


def next_steps(ranking: Ranking) -> Section:
    """The section of a page on how to go on, for rankings with a score."""
    group = [m for m in ranking.ranked if m.tied]
    body = render(
        "steps.html",
        command=tune_command(ranking),
        names=ranking.top(_count(ranking)),
        unknown=_unknown(ranking),
        data=bool(ranking.location),
        group=group,
        cheapest=_cheapest(group),
    )
    return Section("How to go on", body, "steps")


def _count(ranking: Ranking) -> int:
    return min(MOST, len(ranking.ranked))


def _unknown(ranking: Ranking) -> list[str]:
    """The best models that neither a name nor a hub file gives again."""
    best = ranking.ranked[: _count(ranking)]
    return [m.name for m in best if m.spec is None and not m.hub_file]


def _cheapest(group: list[RankedModel]) -> RankedModel | None:
    """The smallest of several models that cannot be told apart, if all sizes are known."""
    if len(group) < 2 or any(m.parameters is None for m in group):
        return None
    return min(group, key=lambda m: m.parameters or math.inf)
