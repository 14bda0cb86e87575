"""What scores of a prefix of the samples say of the scores of all: estimates and their margins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from hubfast.ranking.places import ROUND_OFF
from hubfast.ranking.verdict import State
from hubfast.scores.score import Growth

# Of an extrapolated step: how far it may be off, as scores do not grow exactly by their law.
SLACK = 0.5


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


def growth_at(growth: Growth, samples: np.ndarray | float) -> np.ndarray:
    """The bias of a score of n samples, up to a factor that is the model's own."""
    n = np.asarray(samples, float)
    match growth:
        case "log":
            return np.log1p(n) / n
        case "inverse":
            return 1 / n
        case "none":
            return np.zeros_like(n)
    raise ValueError(f"growth must be 'log', 'inverse' or 'none', got {growth!r}")


def critical_value(level: float, rows: int) -> float:
    """How many standard errors a difference must have: Student's t of `rows` influences.

    Args:
        level: The chance of a wrong decision by one comparison.
        rows: Influences q that the standard error is of, at least 2.
    """
    return float(stdtrit(rows - 1, 1 - level))


def extrapolate(prefix: Prefix, growth: Growth, level: float) -> Estimates:
    """Extrapolates the scores to all samples; pairs of models are compared on the same samples.

    A score of n samples is off by a bias that falls with n as `growth` says, so two looks tell
    it. The margin of a pair has two parts: `critical_value` standard errors of the difference,
    sampling without replacement and the noise of the extrapolation included, and `SLACK` of both
    extrapolated steps, for a bias that does not fall exactly so.
    """
    n, total = prefix.samples, prefix.total
    rows = prefix.influences.shape[1]
    known = np.isfinite(prefix.scores) & np.isfinite(prefix.influences).all(1) & (rows > 1)
    steps, ratios = np.zeros(len(known)), np.zeros(len(known))
    if growth != "none":
        known &= np.isfinite(prefix.earlier)
        before = np.where(known, prefix.earlier_samples, 1)
        left = growth_at(growth, total) - growth_at(growth, n)
        ratios = left / (growth_at(growth, n) - growth_at(growth, before))
        steps = np.where(known, (prefix.scores - prefix.earlier) * ratios, 0.0)
        ratios = ratios * np.sqrt(n / before - 1)
    values = np.where(known, prefix.scores + steps, np.nan)
    # The mean of n of N samples, and the step of the extrapolation, which is not correlated to it.
    spread = 1 - n / total + np.maximum.outer(ratios, ratios) ** 2
    squares = _paired_variances(np.where(known[:, None], prefix.influences, 0.0)) / n
    slack = SLACK * np.add.outer(np.abs(steps), np.abs(steps))
    both = np.logical_and.outer(known, known)
    critical = critical_value(level, rows) if rows > 1 else np.inf
    margins = np.where(both, critical * np.sqrt(squares * spread) + slack, np.inf)
    np.fill_diagonal(margins, 0.0)
    return Estimates(values, margins)


def _paired_variances(influences: np.ndarray) -> np.ndarray:
    """The variances of the differences of the influences of each two models, `(M, M)`."""
    rows = influences.shape[1]
    centred = influences - influences.mean(1, keepdims=True)
    products = centred @ centred.T / max(rows - 1, 1)
    own = np.diag(products)
    return np.maximum(own[:, None] + own[None, :] - 2 * products, 0.0)
