"""Places for the labels of points, where they cover neither each other nor points."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

GAP = 8.0  # pixels from a point's centre to its label
MARKER = 5.0  # half the side of the square that a point takes

Align = Literal["left", "right", "center"]


@dataclass(frozen=True)
class Label:
    """A text whose left end, right end or centre is at (x, y) pixels, y upwards."""

    text: str
    align: Align
    x: float
    y: float


def place(
    points: np.ndarray,
    whiskers: np.ndarray,
    texts: Sequence[Sequence[str]],
    area: np.ndarray,
    size: float,
) -> list[Label]:
    """Places labels one after the other, each at the first free spot around its point.

    Args:
        points: Centres in pixels, `(n, 2)`.
        whiskers: Boxes x0, y0, x1, y1 to keep off where there is another place, `(w, 4)`.
        texts: For each point, most important first, the texts to try in turn: name, number.
        area: The box that labels stay in, `(4,)`.
        size: Size of the font in pixels.

    Returns:
        Labels of the points where one of the texts has a free spot.
    """
    taken = np.concatenate([points - MARKER, points + MARKER], axis=1)
    labels = []
    for point, choices in zip(points, texts, strict=True):
        blocked = np.concatenate([taken, whiskers])
        free = (
            (label, box)
            for text in choices
            for others in (blocked, taken)
            for label, box in _around(point, text, size)
            if _inside(box, area) and not _hits(box, others)
        )
        found = next(free, None)
        if found is not None:
            labels.append(found[0])
            taken = np.concatenate([taken, found[1][None]])
    return labels


def text_width(text: str, size: float) -> float:
    """Upper estimate of a text's width in pixels; the reader's own font cannot be measured."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return size * (0.58 * (len(text) - wide) + wide)


def _around(point: np.ndarray, text: str, size: float) -> list[tuple[Label, np.ndarray]]:
    """Spots around a point with their boxes, best first: the sides, above, below, corners."""
    width, height = text_width(text, size), 1.2 * size
    rise, slant = GAP + height / 2 - 2, GAP / 2
    spots: list[tuple[Align, float, float]] = [
        ("left", GAP, 0),
        ("right", -GAP, 0),
        ("center", 0, rise),
        ("center", 0, -rise),
        ("left", slant, rise - 2),
        ("right", -slant, rise - 2),
        ("left", slant, 2 - rise),
        ("right", -slant, 2 - rise),
    ]
    before = {"left": 0.0, "center": width / 2, "right": width}
    found = []
    for align, right, up in spots:
        x, y = float(point[0]) + right, float(point[1]) + up
        left = x - before[align]
        box = np.array([left, y - height / 2, left + width, y + height / 2])
        found.append((Label(text, align, x, y), box))
    return found


def _inside(box: np.ndarray, area: np.ndarray) -> bool:
    return bool((box[:2] >= area[:2]).all() and (box[2:] <= area[2:]).all())


def _hits(box: np.ndarray, others: np.ndarray) -> bool:
    overlap = (others[:, :2] < box[2:]) & (others[:, 2:] > box[:2])
    return bool(overlap.all(axis=1).any())
