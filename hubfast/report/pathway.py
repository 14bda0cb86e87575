"""The report of a hub's pathways: which images go to which model."""

import base64
import math
from io import BytesIO
from pathlib import Path

from PIL import Image
from torch import Tensor

from hubfast.pathway import RoutingSurvey
from hubfast.report.numbers import number, plural
from hubfast.report.page import Section, render, write_page

UNEVEN = 0.5  # coefficient of variation of the load from which the page speaks of it


def write_pathway(path: str | Path, survey: RoutingSurvey, *, data: str = "") -> None:
    """Writes the report of a hub's pathways as one HTML file that loads nothing.

    Args:
        path: The HTML file, replaced if there is one.
        survey: The survey that `hubfast.pathway.survey` returns.
        data: Name of the images, in the title.

    Raises:
        OSError: The file cannot be written.
    """
    title = f"Pathways of {plural(len(survey.models), 'model')}"
    subtitle = f"{plural(survey.samples, 'image')}, each on {plural(survey.k, 'model')}"
    write_page(path, f"{title} for {data}" if data else title, pathway_sections(survey), subtitle)


def pathway_sections(survey: RoutingSurvey) -> list[Section]:
    """The sections of `write_pathway`, for a page that holds more."""
    sections = [_load(survey)]
    if survey.classes:
        rows = list(zip(survey.classes, _rounded(survey.shares), strict=True))
        body = render(
            "pathway.html", part="classes", k=survey.k, models=survey.models, classes=rows
        )
        sections.append(Section("Classes and models", body, "pathway-classes"))
    if survey.history is not None and len(survey.history) > 1:
        sections.append(_course(survey, survey.history))
    grids = [
        (name, [_png(image) for image in images])
        for name, images in zip(survey.models, survey.images, strict=True)
    ]
    body = render("pathway.html", part="images", grids=grids)
    return [*sections, Section("Images of each model", body, "pathway-images")]


def _load(survey: RoutingSurvey) -> Section:
    pairs = zip(survey.models, survey.load.tolist(), survey.gates.tolist(), strict=True)
    rows = [
        {"name": name, "load": round(load, 4), "gate": number(gate, 2)}
        for name, load, gate in pairs
    ]
    spread = float(survey.load.std(correction=0) / survey.load.mean())
    idle = sum(load == 0 for load in survey.load.tolist())
    verdict = (
        f"The load varies by {number(spread, 2)} of its mean"
        f"{': the hub leans on few models' if spread >= UNEVEN else ''}."
    )
    if idle:
        verdict += f" {plural(idle, 'model')} of them took none."
    samples = plural(survey.samples, "image")
    body = render(
        "pathway.html", part="load", rows=rows, samples=samples, k=survey.k, verdict=verdict
    )
    return Section("Load of each model", body, "pathway-load")


def _course(survey: RoutingSurvey, history: Tensor) -> Section:
    courses = []
    for name, shares in zip(survey.models, history.T.tolist(), strict=True):
        steps = [100 * i / (len(shares) - 1) for i in range(len(shares))]
        points = " ".join(f"{x:.2f},{_height(y):.2f}" for x, y in zip(steps, shares, strict=True))
        courses.append((name, points, round(shares[0], 4), round(shares[-1], 4)))
    equal = survey.k / len(survey.models)
    body = render(
        "pathway.html",
        part="course",
        courses=courses,
        steps=plural(survey.steps, "step"),
        equal=equal,
        level=f"{_height(equal):.2f}",
    )
    return Section("Load over the course of training", body, "pathway-course")


def _height(share: float) -> float:
    """Height in the drawing, downwards, with room for the line's width at both ends."""
    return 98 - 96 * share


def _rounded(shares: Tensor) -> list[list[float]]:
    return [[0.0 if math.isnan(x) else round(x, 4) for x in row] for row in shares.tolist()]


def _png(image: Tensor) -> str:
    """An image `(3, h, w)` in [0, 1] as a data URL; the same bytes each time."""
    out = BytesIO()
    pixels = (255 * image).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
