"""The report of a tuned model in a real browser: a phone, the dark theme, nothing in the log."""

import pytest
import timm
import tiny
import torch
from looking import look

from hubfast.report import write_tuning
from hubfast.tuning import Recipe, Trainer, tune
from hubfast.utils.threads import one_torch_thread


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    torch.manual_seed(0)
    hub = {"a/long-name.of_a_model": timm.create_model("test_resnet", num_classes=5)}
    trainer = Trainer(Recipe(epochs=3, batch_size=12), accelerator="cpu", progress=False)
    with one_torch_thread():
        tuned = tune(hub, tiny.data(30), method="bss", trainer=trainer)
    path = tmp_path_factory.mktemp("tuned") / "report.html"
    write_tuning(path, tuned)
    return path


@pytest.fixture(scope="module")
def pathways_page(tmp_path_factory):
    torch.manual_seed(0)
    names = ("test_resnet", "test_vit", "test_convnext")
    hub = {f"a/long-name.of_{n}": timm.create_model(n, num_classes=5) for n in names}
    trainer = Trainer(Recipe(epochs=4, batch_size=12), accelerator="cpu", progress=False)
    options = {"method": "hub-pathway", "top": 3, "size": (32, 32)}
    with one_torch_thread():
        tuned = tune(hub, tiny.data(30), trainer=trainer, **options)
    path = tmp_path_factory.mktemp("pathways") / "report.html"
    write_tuning(path, tuned)
    return path, tuned


@pytest.mark.parametrize("width", [1280, 375])
def test_browser_shows_pathways(browser, pathways_page, width):
    page, tuned = pathways_page
    look(browser, page, width=width)
    sizes = "return [innerWidth, document.documentElement.scrollWidth]"
    inner, scrolled = browser.execute_script(sizes)
    assert scrolled <= inner == width
    lines = browser.execute_script(
        "return [...document.querySelectorAll('#pathway-course polyline')]"
        ".filter(e => e.getBoundingClientRect().width > 50).length"
    )
    assert lines == 3
    shown = browser.execute_script(
        "return [...document.querySelectorAll('#pathway-images img')]"
        ".filter(e => e.complete && e.naturalWidth > 0).length"
    )
    assert shown == sum(len(images) for images in tuned.pathways.images)
    rows = browser.execute_script(
        "return document.querySelectorAll('#pathway-classes tbody tr').length"
    )
    assert rows == len(tuned.pathways.classes) == 3
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [1280, 375])
def test_browser_shows_curves_and_confusion(browser, page, width):
    look(browser, page, width=width)
    sizes = "return [innerWidth, document.documentElement.scrollWidth]"
    inner, scrolled = browser.execute_script(sizes)
    assert scrolled <= inner == width
    lines = browser.execute_script(
        "return [...document.querySelectorAll('.plot > svg polyline')]"
        ".filter(e => e.getBoundingClientRect().width > 50).length"
    )
    assert lines == 4  # loss, its two terms, validation accuracy
    cells = browser.execute_script(
        "return [...document.querySelectorAll('table.confusion td > span')]"
        ".map(e => +e.textContent)"
    )
    assert sum(cells) == 6  # the validation part
    assert browser.get_log("browser") == []


def test_browser_follows_the_theme(browser, page):
    colours = {}
    for theme in ("light", "dark"):
        look(browser, page, theme=theme)
        colours[theme] = browser.execute_script(
            "return ['.plot polyline', 'table.confusion td.right'].map(s => "
            "getComputedStyle(document.querySelector(s))).map(s => s.stroke + s.backgroundColor)"
        )
    assert all(a != b for a, b in zip(*colours.values(), strict=True))
