"""The report of a race: its figure, its table, and where the time went."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import matplotlib
import pytest
from looking import look
from pages import written
from races import raced
from rankings import ranking

matplotlib.use("agg")

import matplotlib.pyplot as plt

from hubfast import plots
from hubfast.ranking.race_record import RaceLook, RaceRecord
from hubfast.ranking.verdict import Standing
from hubfast.report import write_ranking
from hubfast.report.race import course_of
from hubfast.report.rows import score_scale, time_parts


def record(*looks, top=1):
    """A race of these looks: `{name: (state, estimate, margin)}` by number of samples."""
    made = []
    standings = {}
    for samples, found in looks:
        for name, (state, estimate, margin) in found.items():
            ends = (None,) * 3
            if estimate is not None:
                ends = (estimate, estimate - margin, estimate + margin)
            standings[name] = Standing(
                name, state, samples, len(made) + 1, 0.5, *ends, why="reason"
            )
        made.append(RaceLook(samples, 1.0, tuple(standings.values())))
    return RaceRecord(top, 0.95, 0.0, 0.5, "the best are known with 95 % confidence", tuple(made))


BY_HAND = record(
    (128, {"a": ("in", None, 0), "b": ("in", None, 0), "c": ("in", None, 0)}),
    (256, {"a": ("in", 0.9, 0.3), "b": ("in", 0.8, 0.3), "c": ("dropped", 0.1, 0.2)}),
    (512, {"a": ("accepted", 0.85, 0.1), "b": ("dropped", 0.7, 0.1)}),
)


def test_the_course_by_hand():
    course = course_of(BY_HAND)
    assert course.samples == (256, 512)  # nothing was known at the first look
    assert [(m.name, m.state) for m in course.models] == [
        ("a", "accepted"),
        ("b", "dropped"),
        ("c", "dropped"),
    ]
    a, _, c = course.models
    assert [(m.look, m.samples, m.estimate) for m in a.moments] == [(0, 256, 0.9), (1, 512, 0.85)]
    assert [m.samples for m in c.moments] == [256]  # its last standing is shown once
    assert [m.shift for m in (a.moments[0], c.moments[0])] == [-0.06, 0.06]
    assert [(c.look, c.inside, c.outside) for c in course.cuts] == [(0, 0.9, 0.8), (1, 0.85, 0.7)]


def test_accepted_models_leave_the_cut_to_the_others():
    raced_before = record(
        (256, {"a": ("accepted", 0.9, 0.1), "b": ("in", 0.6, 0.3), "c": ("in", 0.5, 0.3)}),
        (512, {"b": ("accepted", 0.6, 0.01), "c": ("dropped", 0.5, 0.01)}),
        top=2,
    )
    cuts = course_of(raced_before).cuts
    assert [(c.inside, c.outside) for c in cuts] == [(0.6, 0.5), (0.6, 0.5)]


def test_a_race_that_knew_nothing_has_no_course(tmp_path):
    assert course_of(record((128, {"a": ("in", None, 0), "b": ("in", None, 0)}))) is None
    assert course_of(replace(BY_HAND, looks=())) is None
    content = replace(raced(9, until=1), race=replace(BY_HAND, looks=()))
    page = written(tmp_path, content)
    assert "The race" not in page.text
    assert ("a", "href", "#race") not in page.attributes
    assert ("a", "href", "#race") in written(tmp_path, raced(9, until=1)).attributes


def test_a_look_that_is_taken_twice_is_drawn_once():
    """As where a model failed at it, and others came back."""
    looks = (*BY_HAND.looks, replace(BY_HAND.looks[-1]))
    assert course_of(replace(BY_HAND, looks=looks)) == course_of(BY_HAND)


def test_models_never_overlap_in_a_column_and_limits_hold_those_that_matter():
    for content in (raced(40, gap=0.03), raced(40, gap=0.003), raced(9, until=1)):
        course = course_of(content.race)
        low, high = course.limits
        for position in range(len(course.samples)):
            shifts = sorted(
                m.shift for model in course.models for m in model.moments if m.look == position
            )
            assert -0.4 <= shifts[0] <= shifts[-1] <= 0.4
            assert all(b - a > 0.015 for a, b in pairwise(shifts))
        for model in course.models:
            if model.state != "dropped":
                half = (len(course.samples) - 1) // 2
                for m in model.moments:
                    assert low <= m.estimate <= high
                    assert m.look < half or low <= m.low <= m.high <= high


def test_every_model_has_its_marks_and_its_name(tmp_path):
    content = raced(12, until=3, gap=0.02, failing=["net_5"])
    page = written(tmp_path, content)
    titles = re.findall(r'<g class="run (\w+)">\s*<title>([^<]*)</title>', page.source)
    assert len(titles) == 2 * 11  # for wide and for narrow windows
    told = {title.split(":")[0]: state for state, title in titles}
    assert told == {m.name: m.standing for m in content.scored}
    for m in content.scored:
        (title,) = {title for _, title in titles if title.startswith(f"{m.name}:")}
        assert f"{m.standing} after {m.samples} samples, {m.why}; estimate {m.score:.4f}" in title
    bars = sum(len(model.moments) for model in course_of(content.race).models)
    assert len(re.findall(r'<line x1="([\d.]+)" x2="\1"', page.source)) == 2 * bars
    labels = re.findall(r'<text [^>]*var\(--fg\)">([^<]*)</text>', page.source)
    undecided = [m.name for m in content.undecided]
    assert labels[: len(undecided)] == undecided


def test_names_in_figures_are_text(tmp_path):
    page = written(tmp_path, raced(6, name="<b>&{}"))
    assert "<b>" not in page.source.replace("<body>", "")
    assert "<b>&0: accepted" in page.text


def test_the_table_says_samples_standing_and_reason(tmp_path):
    content = raced(12, until=3)
    page = written(tmp_path, content)
    header = next(row for row in page.rows if "Standing" in row)
    at = header.index("Standing")
    body = page.rows[page.rows.index(header) + 1 :][: len(content.scored)]
    marks = {"accepted": None, "undecided": "?", "dropped": "\N{EN DASH}"}
    for place, (m, row) in enumerate(zip(content.scored, body, strict=True), 1):
        assert row[:2] == [marks[m.standing] or str(place), m.name]
        assert re.sub(r"\s", "", row[at - 1]) == str(m.samples)
        reason = m.why.removesuffix("with 95 % confidence").strip()
        assert row[at].split() == [m.standing, *reason.split()]
    assert not any("Standing" in row for row in written(tmp_path, ranking()).rows)


def test_bars_of_all_models_lie_on_the_scale():
    content = raced(12)
    scale = score_scale(content)
    for m in content.scored:
        assert scale.low < m.low < m.high < scale.high


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (raced(12), "net_0, net_1 and net_2 are the top 3 of 12 models, with 95 % confidence."),
        (
            raced(12, until=3),
            "net_0 and net_1 are 2 of the top 3 of 12 models, with 95 % confidence.",
        ),
        (raced(12, top=1), "net_0 is the top 1 of 12 models, with 95 % confidence."),
        (raced(9, until=1), "None of the top 3 of 9 models is known."),
        (raced(9, until=1), "9 models are undecided"),
        (raced(12, until=3), "The race ended as the budget of 10 min is spent."),
        (
            raced(12),
            f"{100 * raced(12).race.passes:.0f} % of the passes of a full ranking were needed.",
        ),
    ],
)
def test_what_the_page_says_first(tmp_path, content, said):
    assert said in " ".join(written(tmp_path, content).text.split())


def test_where_the_time_went():
    content = raced(12)
    seen = sum(m.samples for m in content)
    parts = {part.stage: part for part in time_parts(content)}
    total = 3 + 12 * (0.5 + 0.25 + 0.125) + 0.001 * seen
    assert list(parts) == ["read", "load", "prepare", "forward", "score"]
    assert math.isclose(parts["read"].share, 3 / total)
    assert math.isclose(parts["load"].share, 6 / total)
    assert math.isclose(parts["forward"].share, 0.001 * seen / total)
    assert math.isclose(sum(part.share for part in parts.values()), 1)
    widths = sum(float(part.width.removesuffix("%")) for part in parts.values())
    assert widths == pytest.approx(100, abs=0.05)


def test_the_page_tells_the_floor(tmp_path):
    content = raced(12)
    floor = 3 + sum(m.seconds.forward for m in content)
    share = floor / (content.reading + sum(m.seconds.total for m in content))
    text = " ".join(written(tmp_path, content).text.split())
    assert f"Reading, done once for all models, and forward passes took {100 * share:.0f} %" in text


def test_reading_alone_has_its_time(tmp_path):
    models = tuple(replace(m, seconds=type(m.seconds)()) for m in ranking().models)
    page = written(
        tmp_path, ranking().__class__(models, "logme", "d", "classification", 9, reading=2.0)
    )
    assert "read 2.00 s, 100 %" in " ".join(page.text.split())


def test_plots_of_a_race():
    content = raced(12, until=3, gap=0.02)
    axes = plots.race(content)
    axes.figure.canvas.draw()
    course = course_of(content.race)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == [f"{samples:,}" for samples in course.samples]
    marks = [line for line in axes.lines if line.get_marker() in ("o", "D", "x", "+")]
    assert {(float(x.get_ydata()[0]), x.get_marker()) for x in marks} == {
        (m.moments[-1].estimate, plots.MARKS[m.state][1]) for m in course.models
    }
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [list(line.get_ydata()[::2]) for line in dashed] == [
        [cut.inside for cut in course.cuts],
        [cut.outside for cut in course.cuts],
    ]
    _, other = plt.subplots()
    assert plots.race(content, other) is other
    with pytest.raises(ValueError, match="ranking must be of a race that knew something"):
        plots.race(ranking())
    plt.close("all")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (375, "dark")])
@pytest.mark.parametrize(
    "content",
    [raced(40, gap=0.03, name="convnext_base.fb_in22k_ft_in1k_{}"), raced(9, until=1)],
    ids=["40", "open"],
)
def test_browser_shows_the_race(browser, tmp_path, content, width, theme):
    write_ranking(tmp_path / "report.html", content)
    look(browser, tmp_path / "report.html", width=width, theme=theme)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    drawn = browser.execute_script(
        "const svg = [...document.querySelectorAll('.race > svg')].find(e => e.clientWidth);"
        "const box = svg.getBoundingClientRect();"
        "return [...svg.querySelectorAll('text, .run > :not(g, title)')].map(e => {"
        "  const r = e.getBoundingClientRect();"
        "  return [e.textContent, r.left - box.left, r.right - box.right, r.top - box.top,"
        "          r.bottom - box.bottom]})"
    )
    assert len(drawn) > len(content)
    for text, left, right, top, bottom in drawn:
        assert left >= -1, text
        assert right <= 1, text
        assert top >= -1, text
        assert bottom <= 1, text
    colours = browser.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('.race .run')].map(e =>"
        " [e.classList[1], getComputedStyle(e.querySelector('line')).stroke]))"
    )
    assert len({*colours.values()}) == len(colours)
    assert browser.get_log("browser") == []
