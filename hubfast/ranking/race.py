"""The race: which models still matter, decided at a few looks at growing prefixes of the data.

Engine-free: it is told scores and influences, and says who goes on. A race of all models at all
samples is a ranking in which nobody stops.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hubfast.ranking.estimates import (
    Estimates,
    Prefix,
    arrays_of,
    change_left,
    extrapolate,
    final_states,
)
from hubfast.ranking.verdict import Rules, Standing, State, Verdict, are_better
from hubfast.scores.score import Growth


class Race:
    """A race for the `rules.top` best models by their scores on all samples.

    Until `verdict.over`, run every model of `verdict.running` on the first `next_look` samples
    and call `look`; `remove` those that fail, and `stop` where time is up. Nothing is decided at
    the first look, and at the last one scores are final. With `rules.confidence` no decision is
    wrong, over all looks and models together, as far as scores move with their samples to first
    order by their influences.

    Args:
        names: The models.
        looks: How many samples they have seen at each look, ascending; the last is all.
        rules: What is asked for.
        growth: How the score goes on to change with the number of samples: `Score.growth`.

    Raises:
        ValueError: A name twice, as many models wanted as there are, or looks that do not ascend.
    """

    def __init__(self, names: Sequence[str], looks: Sequence[int], rules: Rules, growth: Growth):
        self.names, self.looks, self.rules, self.growth = tuple(names), tuple(looks), rules, growth
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"names must be different, got {list(names)}")
        if rules.top >= len(self.names):
            raise ValueError(
                f"top must be less than the number of models, {len(self.names)}, got {rules.top}"
            )
        if not self.looks or self.looks[0] < 1 or any(np.diff(self.looks) <= 0):
            raise ValueError(f"looks must be at least 1 and ascend, got {list(looks)}")
        change_left(growth, 1.0)  # refuses an unknown one
        self._standings = {name: Standing(name) for name in self.names}
        self._seen: dict[str, tuple[int, float]] = {}  # the last finite score, and of how many
        self._better: dict[str, set[str]] = {}  # for each dropped model the better ones
        self._made = 0
        self._why = ""
        self._level = rules.level(len(self.names), len(self.looks))

    @property
    def verdict(self) -> Verdict:
        """How the models stand after the last look, `remove` or `stop`."""
        samples = self.looks[self._made - 1] if self._made else 0
        standings = tuple(self._standings.values())
        return Verdict(samples, self._made, standings, bool(self._why), self._why)

    @property
    def next_look(self) -> int:
        """How many samples the running models must have seen at the next look; 0 once over."""
        return 0 if self._why else self.looks[self._made]

    def look(self, samples: int, scores: Mapping[str, tuple[float, Any]]) -> Verdict:
        """Takes what the running models gave on the first `samples` of the data.

        Args:
            samples: The number of samples n, the next of `looks`.
            scores: For each running model its score of these n samples, and the influences of q
                of them, `(q,)` as `FittedScore.influence` gives them: of the same q samples for
                all models, drawn from the n. A score that is not finite, or says nothing of so
                few samples, is NaN: its model goes on, and fails at the last look.

        Raises:
            ValueError: Not the next look, not the running models, or influences of other shapes.
        """
        if self._why:
            raise ValueError(f"the race is over: {self._why}")
        if samples != self.next_look:
            raise ValueError(f"samples must be {self.next_look}, got {samples}")
        names = [s.name for s in self.verdict.running]
        values, influences = arrays_of(names, scores, samples)
        self._made += 1
        if samples == self.looks[-1]:
            self._finish(names, values)
        else:
            self._judge(names, values, influences)
        for name, value in zip(names, values, strict=True):
            if np.isfinite(value):
                self._seen[name] = (samples, float(value))
        self._close()
        return self.verdict

    def remove(self, name: str) -> tuple[str, ...]:
        """Takes out a running model that failed.

        Models that were dropped because it was better may matter again: they are in the race
        once more, and have to see the samples that they missed before the next look.

        Returns:
            The names of these.

        Raises:
            ValueError: No running model has this name.
        """
        if name not in (running := [s.name for s in self.verdict.running]):
            raise ValueError(f"name must be one of the running models {running}, got {name!r}")
        revived = self._fail(name, "it failed")
        if self._made or not self.verdict.running:
            self._close()
        return revived

    def stop(self, why: str) -> Verdict:
        """Ends the race: models that still run are undecided. Gives the last verdict.

        Raises:
            ValueError: The race is over, or no reason is given.
        """
        if self._why or not why:
            raise ValueError(f"why must be a reason to stop a race that is on, got {why!r}")
        self._why = why
        return self.verdict

    def _judge(self, names: list[str], values: np.ndarray, influences: np.ndarray) -> None:
        """A look before the last one."""
        earlier = [self._seen.get(name, (1, np.nan)) for name in names]
        prefix = Prefix(
            samples=self.looks[self._made - 1],
            total=self.looks[-1],
            scores=values,
            earlier=np.array([score for _, score in earlier]),
            earlier_samples=np.array([count for count, _ in earlier]),
            influences=influences,
        )
        found = extrapolate(prefix, self.growth, self._level)
        need, accepted = self._need, {s.name for s in self.verdict.accepted}
        self._describe(names, values, found)
        if self._made == 1:
            return  # a bias is not known yet
        ahead = found.ahead > 0  # (M, M), i of j
        for i, name in enumerate(names):
            if ahead[:, i].sum() >= need:
                better = {names[j] for j in np.flatnonzero(ahead[:, i])} | accepted
                self._better[name] = better
                self._settle(name, "dropped", f"{are_better(len(better))} {self.rules.surely}")
            elif ahead[i].sum() >= len(names) - need:
                self._settle(name, "accepted", f"{self.rules.at_most} {self.rules.surely}")
        if self.rules.tolerance > 0:
            self._stop_within_tolerance(names, found)

    @property
    def _need(self) -> int:
        """How many of the running models are among the best."""
        return self.rules.top - len(self.verdict.accepted)

    def _describe(self, names: list[str], values: np.ndarray, found: Estimates) -> None:
        """Notes what is known of each model, beside its rival across the last place."""
        every = zip(names, values, found.values, found.margins_at(self._need), strict=True)
        for name, value, estimate, margin in every:
            self._standings[name] = Standing(
                name,
                samples=self.looks[self._made - 1],
                looks=self._made,
                score=_number(value),
                estimate=_number(estimate),
                low=_number(estimate - margin),
                high=_number(estimate + margin),
                why="it is not told apart yet",
            )

    def _stop_within_tolerance(self, names: list[str], found: Estimates) -> None:
        """Ends the race where no model that is left out can be better by more than tolerated."""
        left = [i for i, name in enumerate(names) if self._standings[name].state == "in"]
        inside, outside, lost = found.best(left, self._need)
        if not lost <= self.rules.tolerance:
            return
        limit = f"better by more than {self.rules.tolerance:g}, {self.rules.surely}"
        for i in inside:
            self._settle(names[i], "accepted", f"no model that is left out is {limit}")
        for i in outside:
            self._settle(names[i], "dropped", f"it is not {limit}")
        self._why = f"no model that is left out is {limit}"

    def _finish(self, names: list[str], values: np.ndarray) -> None:
        """The last look: scores are those of all samples."""
        total = self.looks[-1]
        for name, value in zip(names, values, strict=True):
            score = _number(value)
            self._standings[name] = Standing(
                name, "in", total, self._made, score, score, score, score, exact=score is not None
            )
        failed = [name for name in names if self._standings[name].score is None]
        revived = [self._fail(name, "its score on all samples is not finite") for name in failed]
        if any(revived):
            self._made -= 1  # those that are in again have yet to see all samples
            return
        why = {
            "accepted": f"it is among the best on all {total:,} samples",
            "dropped": f"{are_better(self.rules.top)} on all {total:,} samples",
            "in": f"it shares the last place on all {total:,} samples",
        }
        finite = np.isfinite(values)
        left = [name for name, known in zip(names, finite, strict=True) if known]
        for name, state in zip(left, final_states(values[finite], self._need), strict=True):
            self._settle(name, state, why[state])
        self._why = f"all {total:,} samples were seen"

    def _close(self) -> None:
        """Ends the race where the best are known."""
        if self._why:
            return
        running, accepted = self.verdict.running, len(self.verdict.accepted)
        if accepted < self.rules.top < accepted + len(running):
            return
        for s in running:
            if accepted == self.rules.top:
                self._settle(s.name, "dropped", f"{are_better(accepted)} {self.rules.surely}")
            else:
                self._settle(s.name, "accepted", "all others are dropped or failed")
        known = f"the best are known {self.rules.surely}"
        self._why = known if accepted or running else "no model is left"

    def _fail(self, name: str, why: str) -> tuple[str, ...]:
        """Takes a model out; gives those that were dropped for it and are in again."""
        self._settle(name, "failed", why)
        for better in self._better.values():
            better.discard(name)
        revived = [dropped for dropped, x in self._better.items() if len(x) < self.rules.top]
        for dropped in revived:
            del self._better[dropped]
            self._settle(dropped, "in", f"{name} was better, and failed")
        return tuple(revived)

    def _settle(self, name: str, state: State, why: str) -> None:
        self._standings[name] = replace(self._standings[name], state=state, why=why)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
