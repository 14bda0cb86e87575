"""Places in an order by score: equal scores share one."""

import math
from collections.abc import Sequence

ROUND_OFF = 1e-9  # relative difference of scores that are equal


def places(scores: Sequence[float]) -> list[int]:
    """Gives the place of each, 1 for the highest; scores equal up to round-off share theirs.

    NaN comes last. After two that share place 1 comes place 3.
    """
    order = sorted(range(len(scores)), key=lambda i: descending(scores[i]))
    numbers = [0] * len(scores)
    leader = math.nan
    for position, i in enumerate(order):
        score = scores[i]
        same = math.isclose(score, leader, rel_tol=ROUND_OFF) or (
            math.isnan(score) and math.isnan(leader)
        )
        if position == 0 or not same:
            place, leader = position + 1, score
        numbers[i] = place
    return numbers


def descending(score: float | None) -> tuple[bool, float]:
    """A key that sorts by score, highest first, NaN and None last."""
    missing = score is None or math.isnan(score)
    return missing, 0.0 if missing or score is None else -score
