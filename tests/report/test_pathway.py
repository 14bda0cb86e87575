"""The page of a hub's pathways."""

import base64
import dataclasses
import re
from io import BytesIO

import numpy as np
import pytest
import torch
from pages import Page
from PIL import Image

from hubfast.pathway import RoutingSurvey
from hubfast.report import pathway_sections, write_pathway
from hubfast.report.numbers import MISSING

NAMES = ["first", "<b>second</b>", "third"]


@pytest.fixture
def content():
    shares = torch.tensor([[1.0, 0.5, 0.5], [0.25, 1.0, 0.75]], dtype=torch.float64)
    history = torch.tensor([[1.0, 0.5, 0.5], [0.5, 0.75, 0.75], [0.0, 1.0, 1.0]])
    picture = torch.tensor([[[0.0, 1.0]], [[0.5, 1.0]], [[0.2, 0.0]]])
    images = [picture[None], picture.repeat(2, 1, 1, 1), picture[None][:0]]
    gates = torch.tensor([0.75, 0.25, float("nan")])
    return RoutingSurvey(
        models=NAMES,
        classes=["<i>cat</i>", "dog"],
        k=2,
        samples=40,
        shares=shares,
        load=torch.tensor([0.75, 1.25, 0.0], dtype=torch.float64),
        gates=gates,
        images=images,
        history=history,
        steps=300,
    )


def written(tmp_path, content):
    write_pathway(tmp_path / "page.html", content, data="pets")
    return Page(tmp_path / "page.html")


def test_page_says_what_the_survey_holds(tmp_path, content):
    page = written(tmp_path, content)
    text = re.sub(r"\s+", " ", page.text.replace("\N{NO-BREAK SPACE}", " "))
    assert "Pathways of 3 models for pets" in text
    assert "40 images, each on 2 models" in text
    assert "1 model of them took none" in text
    assert "the hub leans on few models" in text
    rows = [[cell.replace("\N{NO-BREAK SPACE}", " ").strip() for cell in r] for r in page.rows]
    assert ["first", "75 %", "", "0.75"] in rows
    assert ["third", "0 %", "", MISSING] in rows
    assert ["<i>cat</i>", "100 %", "50 %", "50 %"] in rows
    assert ["dog", "25 %", "100 %", "75 %"] in rows
    assert "over 300 steps of training" in text
    assert "No image runs on it." in text


def test_names_are_escaped(tmp_path, content):
    page = written(tmp_path, content)
    assert "b" not in page.tags
    assert "<b>" in page.text


def test_images_survive(tmp_path, content):
    page = written(tmp_path, content)
    sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    assert len(sources) == 3
    data = base64.b64decode(sources[0].removeprefix("data:image/png;base64,"))
    pixels = np.asarray(Image.open(BytesIO(data)))
    assert pixels.tolist() == [[[0, 128, 51], [255, 255, 0]]]


def test_course_is_drawn(tmp_path, content):
    page = written(tmp_path, content)
    lines = [value for tag, name, value in page.attributes if (tag, name) == ("polyline", "points")]
    assert lines[0] == "0.00,2.00 50.00,50.00 100.00,98.00"


def test_sections_without_content_are_left_out(content):
    assert [s.id for s in pathway_sections(content)] == [
        "pathway-load",
        "pathway-classes",
        "pathway-course",
        "pathway-images",
    ]
    bare = dataclasses.replace(content, classes=[], shares=torch.zeros(0, 3), history=None)
    assert [s.id for s in pathway_sections(bare)] == ["pathway-load", "pathway-images"]


def test_same_content_same_bytes(tmp_path, content):
    pages = []
    for name in ("a.html", "b.html"):
        write_pathway(tmp_path / name, content)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
