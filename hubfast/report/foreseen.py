"""A sentence on what to expect of the best model."""

import math

from hubfast.ranking.rows import RankedModel
from hubfast.report.numbers import number

PERCENT = "\N{NO-BREAK SPACE}%"


def foreseen(model: RankedModel, task: str) -> str:
    """What a linear head on the model's features gives; empty where that is not known."""
    found = model.expected
    if found is None or not math.isfinite(found.value):
        return ""
    if task == "regression":
        return (
            f"With nothing but a linear head trained, expect an R\N{SUPERSCRIPT TWO} of about "
            f"{number(found.value, 2)} ({number(found.low, 2)} to {number(found.high, 2)}) on new "
            "samples; always predicting the mean has 0."
        )
    parts = (found.value, found.low, found.high, found.majority, found.chance)
    value, low, high, majority, chance = (f"{100 * part:.1f}" for part in parts)
    what, most = "samples", "the most frequent class"
    if task == "multilabel":
        what, most = "labels", "the more frequent value of each label"
    return (
        f"With nothing but a linear head trained, expect about {value}{PERCENT} of new {what} to "
        f"be right ({low} to {high}{PERCENT}). Always saying {most} is right for "
        f"{majority}{PERCENT}, guessing for {chance}{PERCENT}. Fine-tuning can do better."
    )
