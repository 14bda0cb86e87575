"""What a race leaves behind: its rules, how the models stood at each look, and how it ended."""

from dataclasses import dataclass

from hubfast.ranking.verdict import Rules, Standing


@dataclass(frozen=True)
class RaceLook:
    """How the models stood after a look."""

    samples: int  # that the running models had seen
    seconds: float  # since the race began
    standings: tuple[Standing, ...]


@dataclass(frozen=True)
class RaceRecord:
    """A race that is over."""

    top: int
    confidence: float
    tolerance: float
    passes: float  # of all models over all samples, the share that was needed, in [0, 1]
    why: str  # it is over
    looks: tuple[RaceLook, ...] = ()

    def lines(self, models: int, accepted: int) -> tuple[str, ...]:
        """Sentences without a full stop: how many of the best are known, and what it took.

        Args:
            models: The models that took part.
            accepted: Those of them that are known to be among the best.
        """
        known = f"top {self.top}"
        if accepted < self.top:
            known = f"{accepted or 'none'} of the {known}"
        told = " ".join(filter(None, (f"{known} of {models} models known", self.surely)))
        return told, *self.ending, self.share

    @property
    def surely(self) -> str:
        """How sure it is of the models it accepted; empty where `why` says what is sure instead."""
        surely = Rules(self.top, self.confidence).surely
        return "" if self.tolerance > 0 and surely in self.why else surely

    @property
    def ending(self) -> tuple[str, ...]:
        """A sentence without a full stop on why it ended, unless it is that the best are known."""
        if not self.surely:
            return (self.why,)
        return () if self.surely in self.why else (f"the race ended as {self.why}",)

    @property
    def share(self) -> str:
        """How much of the work was needed, as a sentence without a full stop."""
        return f"{100 * self.passes:.0f} % of the passes of a full ranking were needed"
