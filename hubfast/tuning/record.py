"""What a run of tuning gave, as plain values for other programs."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hubfast.tuning.result import Tuned

FORMAT = "hubfast.Tuned/1"


def as_record(tuned: "Tuned") -> dict[str, Any]:
    """Plain values of all but the module, its logits and the ranking."""
    evaluations = {
        part: {"metric": found.metric, "value": found.value, "samples": len(found.targets)}
        for part, found in tuned.evaluations.items()
    }
    return {
        "format": FORMAT,
        "method": tuned.method,
        "models": list(tuned.models),
        "data": tuned.data,
        "labels": tuned.labels.as_dict(),
        "size": list(tuned.size),
        "recipe": tuned.recipe.as_dict(),
        "evaluations": evaluations,
        "baselines": [asdict(each) for each in tuned.baselines],
        "not_worth_it": list(tuned.not_worth_it),
        "notes": list(tuned.notes),
        "cost": asdict(tuned.cost),
        "seconds": dict(tuned.seconds),
        "history": tuned.history.as_dict(),
    }
