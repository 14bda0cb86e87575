"""Small images with known answers, drawn with Pillow: glyphs, digits, shapes, textures, bars.

Every renderer takes a NumPy generator and returns a (32, 32, 3) uint8 array; the same generator
state gives the same image.
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 32
SCALE = 3  # images are drawn this many times larger and then reduced, for smooth edges

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "hexagon", "crescent")
TEXTURES = ("stripes", "checkers", "dots", "rings", "plaid", "clouds", "grain", "zigzag")


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # for the fonts that come with it

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf"), size)


def _two_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws a background and a foreground colour, at least 80 grey levels apart."""
    while True:
        back, front = rng.integers(0, 256, (2, 3))
        if abs(int(back.mean()) - int(front.mean())) >= 80:
            return back, front


def _finish(mask: Image.Image, rng: np.random.Generator, noise: float) -> np.ndarray:
    """Colours a mask, reduces it to SIZE and adds noise."""
    alpha = np.asarray(mask.resize((SIZE, SIZE), Image.Resampling.BOX), float)[..., None] / 255
    back, front = _two_colours(rng)
    image = back * (1 - alpha) + front * alpha + rng.normal(0, noise, (SIZE, SIZE, 3))
    return image.clip(0, 255).astype(np.uint8)


def glyph(rng: np.random.Generator, text: str, font: str, *, noise: float = 8) -> np.ndarray:
    """Draws `text` in one of Matplotlib's fonts, with a random size, place and small rotation."""
    canvas = SIZE * SCALE
    mask = Image.new("L", (canvas, canvas))
    drawn = _font(font, int(rng.integers(18, 27)) * SCALE)
    centre = canvas / 2 + rng.uniform(-3, 3, 2) * SCALE
    ImageDraw.Draw(mask).text(tuple(centre), text, fill=255, font=drawn, anchor="mm")
    turned = mask.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR)
    return _finish(turned, rng, noise)


def digit(rng: np.random.Generator, pixels: np.ndarray, *, noise: float = 8) -> np.ndarray:
    """Enlarges and colours a digit of scikit-learn, `(8, 8)` values from 0 to 16."""
    large = Image.fromarray((pixels * (255 / 16)).astype(np.uint8))
    side = int(rng.integers(22, 31)) * SCALE
    large = large.resize((side, side), Image.Resampling.BICUBIC)
    mask = Image.new("L", (SIZE * SCALE, SIZE * SCALE))
    room = SIZE * SCALE - side
    left, top = rng.integers(0, room + 1, 2)
    mask.paste(large, (int(left), int(top)))
    return _finish(mask, rng, noise)


def shape(
    rng: np.random.Generator, kind: str, *, outline: bool = False, noise: float = 8
) -> np.ndarray:
    """Draws one of SHAPES, filled or as an outline, with a random place, size and rotation."""
    canvas = SIZE * SCALE
    mask = Image.new("L", (canvas, canvas))
    draw = ImageDraw.Draw(mask)
    radius = rng.uniform(8, 13) * SCALE
    x, y = canvas / 2 + rng.uniform(-3, 3, 2) * SCALE
    look = {"outline": 255, "width": 2 * SCALE} if outline else {"fill": 255}
    box = (x - radius, y - radius, x + radius, y + radius)
    if kind == "circle":
        draw.ellipse(box, **look)
    elif kind == "ring":
        draw.ellipse(box, outline=255, width=int(radius * 0.4))
    elif kind == "crescent":
        draw.ellipse(box, **look)
        shift = radius * 0.6
        draw.ellipse((box[0] + shift, box[1], box[2] + shift, box[3]), fill=0)
    else:
        draw.polygon(_corners(kind, x, y, radius, rng.uniform(0, 2 * np.pi)), **look)
    return _finish(mask, rng, noise)


def _corners(kind: str, x: float, y: float, radius: float, turn: float) -> list[tuple]:
    sides = {"triangle": 3, "square": 4, "hexagon": 6}
    if kind in sides:
        angles, lengths = np.arange(sides[kind]) * 2 * np.pi / sides[kind], np.ones(sides[kind])
    elif kind == "star":
        angles, lengths = np.arange(10) * np.pi / 5, np.tile([1.0, 0.42], 5)
    else:  # A cross has two corners at the end of each arm and one between each two arms.
        arm, inner = 0.3, 0.42
        angles = np.concatenate(
            [np.array([-arm, arm, np.pi / 4]) + q * np.pi / 2 for q in range(4)]
        )
        lengths = np.tile([1.0, 1.0, inner], 4)
    points = np.stack([np.cos(angles + turn), np.sin(angles + turn)], 1) * lengths[:, None] * radius
    return [(x + p[0], y + p[1]) for p in points]


def texture(
    rng: np.random.Generator, kind: str, *, period: tuple[float, float] = (5, 11), noise: float = 12
) -> np.ndarray:
    """Draws one of TEXTURES with a random direction and phase, and a period drawn from a range.

    Args:
        rng: The source of everything random.
        kind: One of TEXTURES.
        period: The shortest and the longest period, in pixels.
        noise: Standard deviation of the noise added to each value, in grey levels.

    Raises:
        ValueError: `kind` is not one of TEXTURES.
    """
    v, u = np.mgrid[:SIZE, :SIZE].astype(float)
    turn, wave = rng.uniform(0, np.pi), 2 * np.pi / rng.uniform(*period)
    a = (u * np.cos(turn) + v * np.sin(turn)) * wave + rng.uniform(0, 2 * np.pi)
    b = (-u * np.sin(turn) + v * np.cos(turn)) * wave + rng.uniform(0, 2 * np.pi)
    match kind:
        case "stripes":
            field = np.sin(a)
        case "checkers":
            field = np.sign(np.sin(a) * np.sin(b))
        case "dots":
            field = np.where(np.cos(a) + np.cos(b) > 1.1, 1.0, -1.0)
        case "rings":
            centre = rng.uniform(4, SIZE - 4, 2)
            field = np.sin(np.hypot(u - centre[0], v - centre[1]) * wave)
        case "plaid":
            field = (np.sin(a) + np.sin(b)) / 2
        case "zigzag":
            field = np.sin(a + 2 * np.abs((b / np.pi) % 2 - 1))
        case "clouds" | "grain":
            cells = 5 if kind == "clouds" else 16
            coarse = Image.fromarray(rng.uniform(0, 255, (cells, cells)).astype(np.uint8))
            field = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) / 127.5 - 1
        case _:
            raise ValueError(f"kind must be one of {TEXTURES}, got {kind!r}")
    mask = Image.fromarray(((field + 1) * 127.5).clip(0, 255).astype(np.uint8))
    return _finish(mask, rng, noise)


def bar(rng: np.random.Generator, degrees: float, *, noise: float = 20) -> np.ndarray:
    """Draws a bar turned by `degrees` counterclockwise, among a few specks."""
    canvas = SIZE * SCALE
    mask = Image.new("L", (canvas, canvas))
    draw = ImageDraw.Draw(mask)
    for x, y in rng.uniform(0, canvas, (4, 2)):
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=180)
    length, turn = rng.uniform(9, 13) * SCALE, np.deg2rad(degrees)
    x, y = canvas / 2 + rng.uniform(-4, 4, 2) * SCALE
    along = length * np.array([np.cos(turn), -np.sin(turn)])
    ends = ((x - along[0], y - along[1]), (x + along[0], y + along[1]))
    draw.line(ends, fill=255, width=int(rng.integers(3, 6)) * SCALE)
    return _finish(mask, rng, noise)
