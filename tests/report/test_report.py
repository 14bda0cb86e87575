import math
import re
from dataclasses import replace

import numpy as np
import pytest
from markupsafe import Markup
from pages import Page, written
from rankings import ranking, several, shown

from hubfast.ranking.result import RankedModel, Ranking
from hubfast.report import Section, ranking_sections, write_page, write_ranking
from hubfast.report.figures import agreement
from hubfast.report.labels import place, text_width
from hubfast.report.numbers import MISSING, clip, decimals, evenly, number
from hubfast.report.scatter import Point, cheapest
from hubfast.report.steps import tune_command
from hubfast.report.titles import title_of
from hubfast.scores.registry import SCORES


def test_page_holds_every_name_and_number(tmp_path):
    content = ranking()
    page = written(tmp_path, content)
    body = [row for row in page.rows if row and row[0].rstrip("=").isdigit()]
    assert len(body) == 6
    for rank, (m, row) in enumerate(zip(content.scored, body, strict=True), 1):
        assert row[0] == (f"{rank}=" if rank == 2 else f"{rank}")
        assert row[1] == shown(m.name)
        assert row[2] == f"{m.score:.4f}"
        assert re.findall(r"[\d.]+", row[3]) == [f"{m.low:.4f}", f"{m.high:.4f}"]
        assert row[4] == f"{content.extra['fine-tuned <accuracy>'][m.name]:.3f}"
        assert row[5] == str(m.width)
        assert re.sub(r"\s", "", row[6]) == str(m.parameters)
        assert row[7] == f"{m.seconds.total:.2f}"
    assert "broken <b>" in page.text
    assert "ValueError: no & such <file>" in page.text
    for text in ("0.7000", "0.6900 to 0.7200", "1 other model is not", "flowers", "250", "6 of 7"):
        assert text in " ".join(page.text.split())


def test_notes_on_the_data_and_the_models(tmp_path):
    content = ranking(notes=("1 of 9 samples cannot be read: <b>.png",))
    assert "Notes" not in written(tmp_path, ranking()).text
    first = replace(content.models[0], licence="CC-BY <4>", note="seen & known")
    page = written(tmp_path, replace(content, models=(first, *content.models[1:])))
    text = " ".join(page.text.split())
    for said in ("1 of 9 samples cannot be read: <b>.png", "Licence: CC-BY <4>.", "seen & known"):
        assert said in text


def test_page_loads_nothing_and_runs_no_script_of_others(tmp_path):
    page = written(tmp_path, ranking())
    assert page.tags.count("script") == 1
    assert "<script>alert" not in page.source
    assert not {"img", "iframe", "object", "embed", "base"} & set(page.tags)
    for tag, attribute, value in page.attributes:
        if attribute in ("src", "srcset", "action", "data", "poster", "background"):
            pytest.fail(f"<{tag} {attribute}={value}>")
        if attribute in ("href", "xlink:href") and tag != "a":
            assert value.startswith(("#", "data:,")), (tag, value)
        assert not attribute.startswith("on")
    assert "url(http" not in page.source
    assert "@import" not in page.source


def test_ids_are_unique_and_links_lead_somewhere(tmp_path):
    page = written(tmp_path, ranking())
    ids = [value for _, attribute, value in page.attributes if attribute == "id"]
    assert len(set(ids)) == len(ids)
    for _, attribute, value in page.attributes:
        if attribute in ("href", "xlink:href", "aria-labelledby") and not value.startswith("http"):
            assert value.removeprefix("#") in {*ids, "data:,"}


@pytest.mark.parametrize("metric", [*SCORES, "x"])
def test_every_metric_is_explained(tmp_path, metric):
    text = " ".join(written(tmp_path, ranking(metric=metric)).text.split())
    assert ("arXiv:" in text) == (metric != "x")
    assert "sampling error of these data only" in text
    assert "Read with care" not in text


def test_every_metric_has_a_title():
    titles = {metric: title_of(metric) for metric in (*SCORES, "consensus")}
    assert all(title[0].isupper() or metric == "knn" for metric, title in titles.items())
    assert len(set(titles.values())) == len(titles)
    assert title_of("x") == "x"


def test_several_scores_stand_side_by_side(tmp_path):
    content = several()
    page = written(tmp_path, content)
    titles = [section.title for section in ranking_sections(content)]
    assert titles[1:4] == ["Ranking", "Scores side by side", "How to go on"]
    assert titles[-1] == "What the scores mean"
    start = next(i for i, row in enumerate(page.rows) if row[-3:] == ["LogME", "k-NN", "LEEP"])
    for rank, (m, row) in enumerate(zip(content.scored, page.rows[start + 1 :], strict=False), 1):
        assert row[0] == (f"{rank}=" if rank == 2 else f"{rank}")
        assert row[1] == shown(m.name)
        for metric, cell in zip(content.metrics, row[3:], strict=True):
            value, *place = cell.split()
            if m.scores[metric].score is None:
                assert cell == MISSING
                continue
            assert value.replace("\N{MINUS SIGN}", "-") == f"{m.scores[metric].score:.3f}"
            better = sum(
                (x.scores[metric].score or -9) > m.scores[metric].score for x in content.scored
            )
            tied = m.scores[metric].tied and better > 0
            assert place == [f"{better + 1}{'=' if tied else ''}"]
    assert "ValueError: no <logits> & none to be had" in [a[2] for a in page.attributes]
    text = " ".join(page.text.split())
    for said in ("By the consensus of LogME, k-NN, LEEP", "Borda", "arXiv:2010.06402"):
        assert said in text


def test_the_next_command(tmp_path):
    content = several()
    assert " ".join(tune_command(content)) == (
        "hubfast tune --hub 'timm:net 0' --hub 'timm:net 1' --hub 'timm:net 2' "
        "--data 'my photos' --method b-tuning --top 3"
    )
    assert " ".join(tune_command(content)) in " ".join(written(tmp_path, content).text.split())
    assert tune_command(replace(content, location="")) is None
    text = " ".join(written(tmp_path, ranking(2)).text.split())
    assert "There is no command to go on with" in text
    assert "ranking.top(2)" in text


def test_writes_are_equal_and_leave_no_other_file(tmp_path):
    first = written(tmp_path, ranking()).source
    assert written(tmp_path, ranking()).source == first
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ((), "No model has a score."),
        ((RankedModel("a", error="E"), RankedModel("b", error="E")), "all 2 failed"),
        ((RankedModel("a", score=0.5),), "is the only model with a score: LogME 0.5000."),
        (
            (RankedModel("a", score=math.nan, low=math.nan, high=math.nan, tied=True),),
            "No model has a score: all 1 failed",
        ),
        (
            (RankedModel("a", score=0.5), RankedModel("b", score=0.4)),
            "how sure its lead is cannot be said",
        ),
        (
            (RankedModel("a", score=0.500001), RankedModel("b", score=0.5)),
            "0.500001",
        ),
    ],
)
def test_rankings_with_little_in_them(tmp_path, models, said):
    page = written(tmp_path, Ranking(models, "logme", "", "regression", 0))
    assert said in " ".join(page.text.split())
    assert "nan" not in page.text.lower().replace("score is nan", "")
    assert "None" not in page.text


def test_sections_join_others_on_a_page(tmp_path):
    own = Section("Tuning & more", Markup("<p>text</p>"), "tuning")
    write_page(tmp_path / "a.html", "T < U", [*ranking_sections(ranking()), own], "S & T")
    page = Page(tmp_path / "a.html")
    assert "Tuning & more" in page.text
    assert "T < U" in page.text
    titles = [section.title for section in ranking_sections(ranking())]
    assert titles == [
        "Result",
        "Ranking",
        "How to go on",
        "Score against cost",
        "Score against fine-tuned <accuracy>",
        "Time",
        "Failures",
        "What the score means",
    ]


def test_wrong_arguments(tmp_path):
    good = Section("A", Markup("x"), "a")
    with pytest.raises(TypeError, match=r"body must be Markup \(escaped HTML\), got str"):
        Section("A", "<p>", "a")
    with pytest.raises(ValueError, match="title must not be empty"):
        Section(" ", Markup("x"), "a")
    with pytest.raises(
        ValueError, match="id must be lower-case words joined by hyphens, got 'A b'"
    ):
        Section("A", Markup("x"), "A b")
    with pytest.raises(ValueError, match="title must not be empty"):
        write_page(tmp_path / "a", "", [good])
    with pytest.raises(TypeError, match="sections must hold Section, got str"):
        write_page(tmp_path / "a", "T", ["x"])
    for sections in ([], [good, good]):
        with pytest.raises(ValueError, match="sections must be at least one, with unique ids"):
            write_page(tmp_path / "a", "T", sections)
    with pytest.raises(TypeError, match="ranking must be a Ranking, got list"):
        write_ranking(tmp_path / "a", [])
    with pytest.raises(FileNotFoundError):
        write_ranking(tmp_path / "none" / "a", ranking())
    assert list(tmp_path.iterdir()) == []


def test_numbers():
    assert number(-1.25, 1) == "\N{MINUS SIGN}1.2"
    assert number(-0.00001, 3) == "0.000"
    assert number(None, 3) == number(math.nan, 3) == MISSING
    assert decimals([0.5, 0.9, None, math.inf], 4) == 4
    assert decimals([0.50001, 0.50003], 4) == 6  # more than 6 would be round-off
    assert evenly([0.8, 0.84]) == ["0.80", "0.84"]
    assert clip("one  two\nthree", 99) == "one two three"
    assert len(clip("x" * 99, 20)) == 20


def test_agreement_is_that_of_hand_computed_values():
    assert agreement([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == pytest.approx((1.0, 1.0))
    # Pairs of the ranks 0, 1, 2 weigh 1 + 1/2, 1 + 1/3, 1/2 + 1/3 = 9, 8, 5 sixths. The swapped
    # pair is the lower one by the order of either list: (9 + 8 - 5) / 22.
    tau, pearson = agreement([3.0, 2.0, 1.0], [3.0, 1.0, 2.0])
    assert tau == pytest.approx(12 / 22)
    assert pearson == pytest.approx(0.5)
    assert agreement([1.0, 2.0], [1.0, 2.0]) == (None, None)
    assert agreement([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]) == (None, None)


def test_front_of_cheapest():
    points = [Point(n, n, x, y) for n, x, y in [("a", 1, 1), ("b", 2, 3), ("c", 3, 2), ("d", 2, 2)]]
    assert [p.name for p in cheapest(points)] == ["a", "b"]


def test_labels_do_not_collide():
    points = np.random.default_rng(0).uniform(0, 300, (80, 2))
    texts = [(f"a model name {i}", str(i)) for i in range(80)]
    area = np.array([-20.0, -20, 320, 320])
    labels = place(points, np.empty((0, 4)), texts, area, 12)
    share = {"left": 0.0, "center": 0.5, "right": 1.0}
    boxes = []
    for label in labels:
        width = text_width(label.text, 12)
        x = label.x - share[label.align] * width
        boxes.append((x, label.y - 7, x + width, label.y + 7))
    assert len(labels) > 40
    for i, (a, b, c, d) in enumerate(boxes):
        assert a >= -20.01
        assert c <= 320.01
        for e, f, g, h in boxes[:i]:
            assert c <= e + 0.01 or g <= a + 0.01 or d <= f + 0.01 or h <= b + 0.01
