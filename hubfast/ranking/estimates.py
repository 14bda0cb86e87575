"""What scores of a prefix of the samples say of the scores of all: estimates and their margins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from scipy.special import stdtrit

from hubfast.ranking.places import ROUND_OFF
from hubfast.ranking.verdict import State
from hubfast.scores.score import Growth

STEEPER = 1.2  # at most, each doubling of the samples changes a score by so much more
LATE = 1.0  # doublings that a score which grows late may be extrapolated by


@dataclass(frozen=True, eq=False)
class Prefix:
    """What M models gave on the first n of N samples. NaN is not known."""

    samples: int  # n
    total: int  # N
    scores: np.ndarray  # (M,)
    earlier: np.ndarray  # (M,), the scores at the look before
    earlier_samples: np.ndarray  # (M,), of how many samples these were
    influences: np.ndarray  # (M, q), of the same q of the n samples


@dataclass(frozen=True, eq=False)
class Estimates:
    """The scores of M models on all samples, as far as a prefix tells them."""

    values: np.ndarray  # (M,); NaN where nothing is known
    margins: np.ndarray  # (M, M): how far values[i] - values[j] may be off; inf: not known

    @property
    def ahead(self) -> np.ndarray:
        """By how much i is ahead of j at least, `(M, M)`: above 0 it is better."""
        differences = self.values[:, None] - self.values[None, :]
        return np.where(np.isfinite(self.margins), differences, 0.0) - self.margins

    def best(self, among: Sequence[int], count: int) -> tuple[list[int], list[int], float]:
        """The `count` models of the highest estimates, the others, and what is lost at most.

        That is by how much one of the others may be better than one of the first.
        """
        order = sorted(among, key=lambda i: -self.values[i])  # NaN anywhere: its margins are inf
        inside, outside = order[:count], order[count:]
        lost = -self.ahead[np.ix_(inside, outside)]
        return inside, outside, float(lost.max()) if lost.size else np.inf

    def margins_at(self, place: int) -> np.ndarray:
        """Of each model, the margin of the difference to its rival across a place, `(M,)`.

        Those down to this place are compared with the first one behind it, and the others with
        the last one down to it. NaN where there is no rival.
        """
        order = np.argsort(-self.values, kind="stable")  # NaN last
        found = np.full(len(order), np.nan)
        if place < len(order):
            found[order[:place]] = self.margins[order[:place], order[place]]
            found[order[place:]] = self.margins[order[place:], order[place - 1]]
        return found


def arrays_of(
    names: Sequence[str], scores: Mapping[str, tuple[float, Any]], samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """The scores `(M,)` and influences `(M, q)` of these models.

    Raises:
        ValueError: They are of other models, or influences are not `(q,)` with one q, at most
            `samples`, for all.
    """
    if set(scores) != set(names):
        raise ValueError(f"scores must be of the running models {names}, got {list(scores)}")
    rows = [np.asarray(scores[name][1], float) for name in names]
    shapes = {row.shape for row in rows}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1 or shape[0] > samples:
        shown = {name: row.shape for name, row in zip(names, rows, strict=True)}
        raise ValueError(f"influences must be of the same q <= {samples} samples, got {shown}")
    return np.array([scores[name][0] for name in names], float), np.stack(rows)


def final_states(scores: np.ndarray, need: int) -> list[State]:
    """Which of these scores are the `need` highest; those that share the last place are "in"."""
    states: list[State] = []
    for score in scores:
        same = np.isclose(scores, score, rtol=ROUND_OFF, atol=0)
        above = int((scores > score)[~same].sum())
        if above >= need:
            states.append("dropped")
        else:
            states.append("accepted" if above + same.sum() <= need else "in")
    return states


def change_left(growth: Growth, doublings: float) -> tuple[float, float]:
    """What so many doublings of the samples change a score by, in units of the last change.

    That is the change over the doubling before. A bias that falls as 1 / n halves it each time.
    How much of the change is common to all models does not matter.

    Returns:
        The least and the most: between half and one and a half of that for `"inverse"`; between
        half of that and a change that is by a fifth larger each time for `"slow"`, as for
        `"late"`, where it is NaN before the last doubling: nothing is known.
    """
    halving = 1 - 0.5**doublings
    match growth:
        case "none":
            return 0.0, 0.0
        case "inverse":
            return halving / 2, halving * 1.5
        case "late" if doublings > LATE:
            return np.nan, np.nan
        case "slow" | "late":
            return halving / 2, STEEPER * (STEEPER**doublings - 1) / (STEEPER - 1)
    raise ValueError(f"growth must be one of {get_args(Growth)}, got {growth!r}")


def critical_value(level: float, rows: int) -> float:
    """How many standard errors a difference must have: Student's t of `rows` influences.

    Args:
        level: The chance of a wrong decision by one comparison.
        rows: Influences q that the standard error is of, at least 2.
    """
    return float(stdtrit(rows - 1, 1 - level))


def extrapolate(prefix: Prefix, growth: Growth, level: float) -> Estimates:
    """Extrapolates the scores to all samples; pairs of models are compared on the same samples.

    A score of n samples is biased, and how it changed since the look before tells how it will go
    on: `change_left` gives a range. The estimate is in its middle. The margin of a pair has two
    parts: `critical_value` standard errors of the difference, sampling without replacement and
    the noise of the extrapolation included, and what the range leaves open, for the model of the
    two that it leaves more, or for both where they change in opposite directions.
    """
    n, total = prefix.samples, prefix.total
    rows = prefix.influences.shape[1]
    known = np.isfinite(prefix.scores) & np.isfinite(prefix.influences).all(1) & (rows > 1)
    low, high = change_left(growth, float(np.log2(total / n)))
    changed = known & np.isfinite(prefix.earlier)
    doublings = np.log2(n / np.where(changed, prefix.earlier_samples, n / 2))
    changes = np.where(changed, prefix.scores - prefix.earlier, 0.0) / doublings
    noise = np.sqrt(2**doublings - 1) / doublings  # of a change, in standard errors at n
    if growth != "none":
        known = changed & np.isfinite(high)
    middle, half = (low + high) / 2, (high - low) / 2
    values = np.where(known, prefix.scores + middle * changes, np.nan)
    # The mean of n of N samples is not correlated with its change since the look before.
    spread = 1 - n / total + (middle * np.maximum.outer(noise, noise)) ** 2
    squares = _paired_variances(np.where(known[:, None], prefix.influences, 0.0)) / n
    both = np.logical_and.outer(known, known)
    critical = critical_value(level, rows) if rows > 1 else np.inf
    margins = np.where(both, critical * np.sqrt(squares * spread) + half * widest(changes), np.inf)
    np.fill_diagonal(margins, 0.0)
    return Estimates(values, margins)


def widest(changes: np.ndarray) -> np.ndarray:
    """The largest of the changes of each two models and of their difference, `(M, M)`."""
    sizes, differences = np.abs(changes), np.abs(np.subtract.outer(changes, changes))
    return np.maximum(np.maximum.outer(sizes, sizes), differences)


def _paired_variances(influences: np.ndarray) -> np.ndarray:
    """The variances of the differences of the influences of each two models, `(M, M)`."""
    rows = influences.shape[1]
    centred = influences - influences.mean(1, keepdims=True)
    products = centred @ centred.T / max(rows - 1, 1)
    own = np.diag(products)
    return np.maximum(own[:, None] + own[None, :] - 2 * products, 0.0)
