"""The report in a real browser: what it shows, sorting, a phone, the dark theme."""

import shutil

import pytest
from rankings import ranking, shown

from hubfast.report import write_ranking

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (shutil.which(CHROMIUM) and shutil.which(DRIVER)):
        pytest.skip(f"{CHROMIUM} and {DRIVER} are not installed (apt: chromium chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def look(browser, path, width=1280, theme="light"):
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    window = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    browser.get(path.as_uri())


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


def test_browser_fits_a_phone(browser, tmp_path):
    write_ranking(tmp_path / "report.html", ranking(30, data="/a/long/path/" * 20))
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
