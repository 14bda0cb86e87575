"""Score by depth in the page of a ranking."""

import re
from dataclasses import replace

from hubfast.ranking.result import Ranking
from hubfast.ranking.rows import MetricScore, PointScore, RankedModel
from hubfast.report.depth import MOST, score_by_depth
from hubfast.report.ranking import ranking_sections


def point(name, layer, score, **more):
    return PointScore(name, layer, 8, 0.5, {"logme": MetricScore(score, **more)})


POINTS = (
    point("last/auto", 3, 0.4),
    point("1/mean", 1, 0.1),
    point("2/mean", 2, 0.5),
    point("1/cls", 1, 0.2),
    point("2/cls", 2, 0.3),
    point("last/cls", 3, 0.35),
    point("mean/cls", None, 0.25),
)


def ranking(count=1, points=POINTS, best="2/mean"):
    models = tuple(
        RankedModel(f"m<{i}>", score=0.45 - 0.01 * i, width=8, point=best, points=points)
        for i in range(count)
    )
    return Ranking(models, metric="logme", data="d", task="classification", samples=100)


def drawn(found):
    (section,) = score_by_depth(found)
    return str(section.body)


def test_one_line_for_each_pooling():
    body = drawn(ranking())
    lines = re.findall(
        r'<polyline points="([^"]*)".*?stroke:var\((--\w+)\).*?dasharray:(\w+)', body
    )
    # The last layer as the model pools it ends the line that has no last layer.
    assert [(len(points.split()), colour) for points, colour, _ in lines] == [
        (3, "--accent"),
        (3, "--prepare"),
        (2, "--prepare"),
    ]
    assert [dash == "none" for _, _, dash in lines] == [True, True, False]
    heights = [float(one.split(",")[1]) for one in lines[0][0].split()]
    assert heights[1] < heights[2] < heights[0]  # 0.5 above 0.4 above 0.1
    assert body.count('r="7"') == 1  # the ring around the point of the row
    assert "m&lt;0&gt;" in body
    assert "<li>" in body
    assert ">auto" not in body


def test_the_models_own_way_stands_alone_beside_several_lines():
    both = (*POINTS[:3], *POINTS[3:5], point("last/max", 3, 0.2), point("1/max", 1, 0.2))
    body = drawn(ranking(points=both))
    assert ">auto" in body


def test_points_without_a_score_are_left_out():
    odd = (
        point("last/auto", 3, 0.4),
        point("1/mean", 1, 0.9, void="too few"),
        point("2/mean", 2, None),
    )
    body = drawn(ranking(points=odd, best="last/auto"))
    assert len(re.findall('r="3"', body)) == 1


def test_many_models():
    body = drawn(ranking(MOST + 3))
    assert body.count("<figure") == MOST
    assert "3\N{NO-BREAK SPACE}models further down" in body


def test_no_points_no_section():
    plain = ranking()
    plain = replace(plain, models=tuple(replace(m, points=(), point="") for m in plain))
    assert score_by_depth(plain) == []
    assert score_by_depth(ranking(points=POINTS[:1])) == []
    ids = [section.id for section in ranking_sections(ranking())]
    assert ids.index("depth") == ids.index("ranking") + 1
    assert "2/mean" in str(ranking_sections(ranking())[1].body)
