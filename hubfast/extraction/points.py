"""Which feature points a model has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PointFacts:
    """Which feature points a model has of those that are asked for."""

    names: tuple[str, ...]  # the first one is that whose outputs have logits
    layers: int = 0  # how many layers the model has; 0 where that is not told
    notes: tuple[str, ...] = ()  # which points it lacks

    def as_facts(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"names": [*self.names], "layers": self.layers, "notes": [*self.notes]}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> "PointFacts":
        """What `as_facts` gave."""
        return cls((*facts["names"],), facts["layers"], (*facts["notes"],))
