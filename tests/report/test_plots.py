"""Figures of a ranking as Matplotlib axes."""

from dataclasses import replace

import matplotlib
import pytest
from rankings import ranking, several

matplotlib.use("agg")

import matplotlib.pyplot as plt

from hubfast import plots
from hubfast.ranking.result import RankedModel, Ranking


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Names that Matplotlib's own font has glyphs for."""
    monkeypatch.setattr("rankings.NAMES", ["a_$x^2$", "b", "<c>", "d" * 90, "e", "f"])


def texts(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def drawn(axes):
    axes.figure.canvas.draw()
    return axes


def test_scores():
    content = ranking()
    axes = drawn(plots.scores(content))
    assert texts(axes)[:3] == ["a_$x^2$", "b", "<c>"]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in dots] == [m.score for m in content.scored]
    assert [line.get_color() for line in dots] == [plots.BEST] * 2 + [plots.OTHERS] * 4
    bars = [line for line in axes.lines if line.get_marker() != "o"]
    assert [tuple(bar.get_xdata()) for bar in bars] == [(m.low, m.high) for m in content.scored]
    assert axes.get_xlabel() == "LogME, nats per sample"


def test_metrics():
    axes = drawn(plots.metrics(several()))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["LogME", "k-NN", "LEEP"]
    places = [text.get_text() for text in axes.texts]
    assert len(places) == 18
    assert places.count("\N{EN DASH}") == 1
    with pytest.raises(ValueError, match="must be by several metrics, got one by 'logme'"):
        plots.metrics(ranking())


@pytest.mark.parametrize("by", ["seconds", "parameters"])
def test_cost(by):
    content = ranking()
    axes = drawn(plots.cost(content, by))
    dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    if by == "parameters":
        assert dots == [m.parameters for m in content.scored]
    else:
        assert dots == pytest.approx([4 * (0.2 + i + 0.3 * (i + 1)) for i in range(6)])
    with pytest.raises(ValueError, match="by must be 'seconds' or 'parameters', got 'memory'"):
        plots.cost(content, "memory")


def test_against():
    content = ranking()
    title = "fine-tuned <accuracy>"
    axes = drawn(plots.against(content, title))
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_ydata()[0] for line in dots] == list(content.extra[title].values())
    assert axes.get_ylabel() == title
    with pytest.raises(ValueError, match=r"title must be one of \['fine-tuned <accuracy>'\]"):
        plots.against(content, "x")


def test_time():
    content = ranking()
    axes = drawn(plots.time(content))
    assert len(axes.patches) == 4 * len(content)
    assert texts(axes)[0] == "f"  # the slowest


def test_given_axes_are_drawn_on():
    figure, axes = plt.subplots(1, 2)
    assert plots.scores(ranking(), ax=axes[0]) is axes[0]
    assert plots.cost(ranking(), ax=axes[1]).figure is figure


def test_rankings_with_little_in_them():
    bare = Ranking((RankedModel("a", score=0.5), RankedModel("b", error="E")), "x", "", "t", 0)
    for draw in (plots.scores, plots.cost, plots.time):
        drawn(draw(bare))
    drawn(plots.scores(replace(bare, models=())))
