"""The report in a real browser: what it shows, sorting, a phone, the dark theme."""

import json

import pytest
from looking import look
from rankings import ranking, several, shown

from hubfast.report import write_ranking


def column(browser, number):
    cells = f"table.ranking tbody tr > :nth-child({number})"
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", cells
    )


def test_browser_shows_and_sorts_the_ranking(browser, tmp_path):
    content = ranking(14)
    write_ranking(tmp_path / "report.html", content)
    look(browser, tmp_path / "report.html")
    assert column(browser, 3) == [f"{m.score:.4f}" for m in content.scored]
    assert column(browser, 8) == [f"{m.seconds.total:.2f}" for m in content.scored]
    names = browser.execute_script(
        "return [...document.querySelectorAll('table.ranking tbody th')].map(e => e.textContent)"
    )
    assert names == [shown(m.name) for m in content.scored]

    seconds = browser.find_element("css selector", "table.ranking th:last-child button")
    ranks = [str(rank) for rank in range(1, 15)]
    seconds.click()
    assert [rank.rstrip("=") for rank in column(browser, 1)] == ranks
    seconds.click()
    assert [rank.rstrip("=") for rank in column(browser, 1)] == ranks[::-1]
    assert seconds.find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    assert browser.get_log("browser") == []


def test_browser_shows_what_the_json_holds(browser, tmp_path):
    content = several(8)
    content.to_json(tmp_path / "ranking.json")
    write_ranking(tmp_path / "report.html", content)
    look(browser, tmp_path / "report.html")
    held = [m for m in json.loads((tmp_path / "ranking.json").read_text())["models"] if m["scores"]]
    cells = browser.execute_script(
        "return [...document.querySelectorAll('table.metrics tbody tr')]"
        ".map(row => [...row.cells].slice(2).map(e => e.dataset.value ?? null))"
    )
    for m, row in zip(held, cells, strict=True):
        expected = [m["score"], *(m["scores"][k]["score"] for k in content.metrics)]
        assert [None if x is None else float(x) for x in row] == expected
    shades = browser.execute_script(
        "return [...document.querySelectorAll('table.metrics td:nth-child(4)')]"
        ".map(e => [Number(e.dataset.value), getComputedStyle(e).backgroundColor])"
    )
    assert len({colour for _, colour in shades}) == len({value for value, _ in shades})

    last = browser.find_element("css selector", "table.metrics th:last-child button")
    last.click()
    values = browser.execute_script(
        "return [...document.querySelectorAll('table.metrics td:last-child')]"
        ".map(e => e.dataset.value ?? null)"
    )
    known = [float(x) for x in values if x is not None]
    assert known == sorted(known, reverse=True)
    assert values[-1] is None
    assert browser.get_log("browser") == []


MANY = ("logme", "knn", "leep", "gbc", "sfda", "parc", "pactran", "transrate", "nce")


@pytest.mark.parametrize("kind", [ranking, several])
def test_browser_fits_a_phone(browser, tmp_path, kind):
    options = {"metrics": MANY, "location": "a/b/" * 30} if kind is several else {}
    write_ranking(tmp_path / "report.html", kind(30, data="/a/long/path/" * 20, **options))
    look(browser, tmp_path / "report.html", width=375)
    sizes = "return [innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert browser.execute_script(sizes) == [375, 375, 375]
    drawn = "return [...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect().width)"
    assert all(width <= 343 for width in browser.execute_script(drawn))
    assert browser.get_log("browser") == []


def test_browser_follows_the_theme(browser, tmp_path):
    write_ranking(tmp_path / "report.html", ranking())
    colours = {}
    for theme in ("light", "dark"):
        look(browser, tmp_path / "report.html", theme=theme)
        colours[theme] = browser.execute_script(
            "return [document.body, document.querySelector('.plot text'), "
            "document.querySelector('.whisker .dot')].map(e => getComputedStyle(e))"
            ".map(s => s.backgroundColor + s.fill + s.color)"
        )
    assert all(a != b for a, b in zip(*colours.values(), strict=True))
