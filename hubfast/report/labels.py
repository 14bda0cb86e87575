"""Places for the labels of points where they cover neither each other nor points."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GAP = 7.0  # from a point's centre to its label
MARKER = 5.0  # half the side of the square that a point takes


@dataclass(frozen=True)
class Label:
    """A text with the centre of its left edge at (x, y), which grows upwards."""

    point: int
    text: str
    x: float
    y: float


def text_width(text: str, size: float) -> float:
    """Upper estimate in units of `size`: the font is the reader's, so it cannot be measured."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return size * (0.56 * (len(text) - wide) + wide)


def place(
    points: np.ndarray,
    whiskers: np.ndarray,
    texts: Sequence[Sequence[str]],
    area: tuple[float, float, float, float],
    size: float,
) -> list[Label]:
    """Places labels one after the other, each at the first free spot around its point.

    Args:
        points: Centres in pixels, `(n, 2)`.
        whiskers: Boxes x0, y0, x1, y1 to keep off where there is another place, `(w, 4)`.
        texts: For each point, most important first, the texts to try in turn: name, number.
        area: Box that labels stay in.
        size: Font size in pixels.

    Returns:
        The labels that found a place; the first text that fits at all wins.
    """
    taken = np.concatenate([points - MARKER, points + MARKER], axis=1)  # boxes (n, 4)
    placed: list[Label] = []
    for index, choices in enumerate(texts):
        spots = (
            (label, box)
            for text in choices
            for lines in (np.concatenate([taken, whiskers]), taken)
            for label, box in _around(index, points[index], text, size)
            if _inside(box, area) and not _hits(box, lines)
        )
        found = next(spots, None)
        if found is not None:
            label, box = found
            placed.append(label)
            taken = np.concatenate([taken, box[None]])
    return placed


def _around(
    index: int, point: np.ndarray, text: str, size: float
) -> list[tuple[Label, np.ndarray]]:
    """Spots around a point, best first: right, left, above, below, then the corners."""
    width, height = text_width(text, size), 1.2 * size
    rise = GAP + height / 2
    x, y = float(point[0]), float(point[1])
    right, left, middle = x + GAP, x - GAP - width, x - width / 2
    corners = [(right - 3, y + rise - 3), (left + 3, y + rise - 3)]
    corners += [(right - 3, y - rise + 3), (left + 3, y - rise + 3)]
    spots = [(right, y), (left, y), (middle, y + rise), (middle, y - rise), *corners]
    return [
        (Label(index, text, a, b), np.array([a, b - height / 2, a + width, b + height / 2]))
        for a, b in spots
    ]


def _inside(box: np.ndarray, area: tuple[float, float, float, float]) -> bool:
    return bool(
        box[0] >= area[0] and box[1] >= area[1] and box[2] <= area[2] and box[3] <= area[3]
    )


def _hits(box: np.ndarray, others: np.ndarray) -> bool:
    apart = (
        (others[:, 0] >= box[2])
        | (others[:, 2] <= box[0])
        | (others[:, 1] >= box[3])
        | (others[:, 3] <= box[1])
    )
    return not bool(apart.all())
