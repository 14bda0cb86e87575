"""The course of a race: what each look knew of each model, and where the last place was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hubfast.ranking.race_record import RaceLook, RaceRecord
from hubfast.ranking.verdict import Standing

STATES = {"accepted": "accepted", "in": "undecided", "dropped": "dropped", "failed": "failed"}
APART = 0.06  # at most, of a look's column, from one model to the next
SPREAD = 0.8  # of a look's column that its models take at most
BESIDE = 5  # models that were dropped at once which are looked at closely


@dataclass(frozen=True)
class Moment:
    """One model at one look."""

    look: int  # its position in the course
    samples: int
    shift: float  # beside the middle of the look, as a share of its column, best model first
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelCourse:
    """One model from look to look."""

    name: str
    state: str  # at the end
    why: str
    moments: tuple[Moment, ...]  # where something was known of it; at least one


@dataclass(frozen=True)
class Cut:
    """The estimates of the models on both sides of the last place, at one look."""

    look: int
    inside: float
    outside: float


@dataclass(frozen=True)
class RaceCourse:
    """A race as it is drawn."""

    samples: tuple[int, ...]  # of each look at which something was known
    models: tuple[ModelCourse, ...]  # accepted ones first, then undecided, dropped, failed
    cuts: tuple[Cut, ...]

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and highest values that matter.

        Those are the estimates of models that were not dropped as soon as that was possible, and
        of the best of the others, and their intervals at the later half of the looks. Hopeless
        models and the wide intervals of the first looks would leave no room for these.
        """
        first = min((m.moments[-1].look for m in self.models if m.state == "dropped"), default=0)
        early = [m for m in self.models if m.state == "dropped" and m.moments[-1].look == first]
        early.sort(key=lambda m: -m.moments[-1].estimate)
        late = [m for m in self.models if m not in early]
        moments = [moment for m in (*late, *early[:BESIDE]) for moment in m.moments]
        half = (len(self.samples) - 1) // 2
        values = [m.estimate for m in moments]
        values += [end for m in moments if m.look >= half for end in (m.low, m.high)]
        return min(values), max(values)


def course_of(record: RaceRecord) -> RaceCourse | None:
    """The course of a race; None where no look knew anything."""
    looks = list({look.samples: look for look in record.looks}.values())  # the last of each size
    known = [(look, fresh) for look in looks if (fresh := _fresh(look))]
    if not known:
        return None
    moments: dict[str, list[Moment]] = {}
    for position, (look, fresh) in enumerate(known):
        step = min(APART, SPREAD / len(fresh))
        for place, s in enumerate(fresh):
            shift = step * (place - (len(fresh) - 1) / 2)
            values = map(float, (s.estimate or 0.0, s.low or 0.0, s.high or 0.0))
            moments.setdefault(s.name, []).append(Moment(position, look.samples, shift, *values))
    last = {s.name: s for s in looks[-1].standings}
    models = [
        ModelCourse(name, STATES[last[name].state], last[name].why, tuple(found))
        for name, found in moments.items()
    ]
    order = list(STATES.values())
    models.sort(key=lambda m: (order.index(m.state), -m.moments[-1].estimate))
    samples = tuple(look.samples for look, _ in known)
    return RaceCourse(samples, tuple(models), _cuts(record.top, looks, known))


def _fresh(look: RaceLook) -> list[Standing]:
    """What was found at this very look, best first."""
    found = [s for s in look.standings if s.samples == look.samples]
    known = [s for s in found if None not in (s.estimate, s.low, s.high)]
    return sorted(known, key=lambda s: -(s.estimate or 0.0))


def _cuts(
    top: int, looks: Sequence[RaceLook], known: Sequence[tuple[RaceLook, list[Standing]]]
) -> tuple[Cut, ...]:
    """Models accepted before a look have their places: the others contend for the rest."""
    accepted = _accepted_before(looks)
    cuts = []
    for position, (look, fresh) in enumerate(known):
        need = top - accepted[look.samples]
        values = [s.estimate or 0.0 for s in fresh]
        if 0 < need < len(values):
            cuts.append(Cut(position, values[need - 1], values[need]))
    return tuple(cuts)


def _accepted_before(looks: Sequence[RaceLook]) -> Mapping[int, int]:
    counts, before = {}, 0
    for look in looks:
        counts[look.samples] = before
        before = sum(s.state == "accepted" for s in look.standings)
    return counts
