"""Numbers and names as text: digits that fit their column, a dash where there is none."""

import math
from collections.abc import Iterable, Sequence

MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
MOST_DECIMALS = 6  # scores agree to about 1e-6 between processors: more digits would be noise


def finite(values: Iterable[float | None]) -> list[float]:
    """The values that are finite numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]


def decimals(values: Iterable[float | None], least: int) -> int:
    """Decimals for a column: `least`, or more where a hundredth of its spread needs them."""
    known = finite(values)
    spread = max(known) - min(known) if known else 0.0
    if spread <= 0:
        return least
    return max(least, min(2 - math.floor(math.log10(spread)), MOST_DECIMALS))


def number(value: float | None, places: int) -> str:
    """`value` with so many decimals; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:z.{places}f}".replace("-", MINUS)


def whole(value: int | None) -> str:
    """An integer in groups of three digits."""
    return MISSING if value is None else f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def short(value: float) -> str:
    """A tick's few digits: 0.25, 40, 1.5 M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.6g}\N{NO-BREAK SPACE}{unit}".replace("-", MINUS)
    return f"{value:.6g}".replace("-", MINUS)


def evenly(values: Sequence[float]) -> list[str]:
    """Ticks of a linear axis, all with the decimals that one of them needs."""
    texts = [short(value) for value in values]
    if any(abs(value) >= 1000 for value in values):
        return texts
    places = max((len(f"{value:.9f}".rstrip("0").partition(".")[2]) for value in values), default=0)
    return [number(value, places) for value in values]


def plural(count: int, noun: str) -> str:
    """`1 model`, `2 models`."""
    return f"{whole(count)}\N{NO-BREAK SPACE}{noun}{'' if count == 1 else 's'}"


def clip(text: str, most: int) -> str:
    """`text` on one line of at most so many characters; what is cut out is its middle."""
    # Matplotlib refuses the lone surrogates of file names that are not UTF-8.
    line = " ".join(text.split()).encode("utf-8", "replace").decode()
    if len(line) <= most:
        return line
    end = most // 3
    return f"{line[: most - end - 1]}\N{HORIZONTAL ELLIPSIS}{line[-end:]}"
