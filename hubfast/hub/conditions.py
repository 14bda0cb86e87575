"""Conditions on timm's models: `params<30M`, `input_size<=224`, `licence=apache-2.0`."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import torch

from hubfast.utils.extras import slow_import

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
CONDITION = re.compile(r"\s*([a-z_]+)\s*(<=|>=|<|>|=)\s*(\S+?)\s*")
NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?)([KMGB]?)", re.IGNORECASE)
FIELDS = {"params": "params", "parameters": "params", "input_size": "input_size"}
LICENCE = ("licence", "license")
LARGEST = {"params": 1e12, "input_size": 1e5}  # of bounds: more, and no model is left out


class Condition(NamedTuple):
    """A condition that a model meets or not."""

    text: str
    field: str  # params, input_size or licence
    sign: str
    value: Any  # a number, or a licence in lower case

    def met(self, name: str, config: Any) -> bool:
        """Whether the model of timm with this name and configuration meets it."""
        if self.field == "licence":
            return str(config.license or "").lower() == self.value
        if self.field == "input_size":
            return COMPARE[self.sign](int(config.input_size[-1]), self.value)
        return COMPARE[self.sign](_parameters(name, config), self.value)

    def whole_numbers(self) -> tuple[float, float]:
        """The least and the largest whole number that meet it, least > largest where none does."""
        up, down = math.ceil(self.value), math.floor(self.value)
        return {
            "<": (1, up - 1),
            "<=": (1, down),
            ">": (down + 1, math.inf),
            ">=": (up, math.inf),
            "=": (up, down),
        }[self.sign]


def read_conditions(texts: Sequence[str]) -> list[Condition]:
    """The conditions, those first that are fast to tell: for parameters a model must be built.

    Raises:
        ValueError: One has another form, or a bound that leaves out none or all; or two exclude
            each other.
    """
    found = [_read(text) for text in texts]
    for one, other in product(found, found):
        if one.field == other.field and _exclude(one, other):
            texts = " and ".join(dict.fromkeys([repr(one.text), repr(other.text)]))
            raise ValueError(f"no model can meet {texts}")
    return sorted(found, key=lambda condition: condition.field == "params")


def _read(text: str) -> Condition:
    match = CONDITION.fullmatch(text)
    if match is not None:
        field, sign, value = match.groups()
        if field in LICENCE and sign == "=":
            return Condition(text, "licence", sign, value.lower())
        number = NUMBER.fullmatch(value)
        if field in FIELDS and number is not None:
            bound, field = float(number[1]) * UNITS[number[2].upper()], FIELDS[field]
            if not 1 <= bound <= LARGEST[field]:
                raise ValueError(
                    f"the bound of {field} must be from 1 to {LARGEST[field]:.0e}, got {text!r}"
                )
            return Condition(text, field, sign, bound)
    raise ValueError(
        "conditions must be like params<30M, input_size<=224, licence=apache-2.0 or "
        f"pretrained=false, got {text!r}"
    )


def _exclude(one: Condition, other: Condition) -> bool:
    if one.field == "licence":
        return bool(one.value != other.value)
    return one.whole_numbers()[0] > other.whole_numbers()[1]


def _parameters(name: str, config: Any) -> int:
    return _count(name.partition(".")[0], int(config.num_classes))


@cache
def _count(architecture: str, classes: int) -> int:
    """Parameters of an architecture, from shapes alone where it can be built so."""
    timm = slow_import("timm")

    try:
        with torch.device("meta"):
            module = timm.create_model(architecture, pretrained=False, num_classes=classes)
    except (RuntimeError, NotImplementedError):  # the model computes with values while it is built
        module = timm.create_model(architecture, pretrained=False, num_classes=classes)
    return sum(p.numel() for p in module.parameters())
