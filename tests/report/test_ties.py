"""The page of a ranking: notes below the ranking, equal scores, scores without a place."""

from dataclasses import replace

import pytest
from pages import Page, written
from rankings import ranking, several

from hubfast import as_hub
from hubfast.ranking.result import Ranking
from hubfast.ranking.rows import RankedModel
from hubfast.report import ranking_sections
from hubfast.report.numbers import MISSING
from hubfast.report.steps import tune_command

WHY = "h_score says nothing for n = 9 samples of width D = 64: with n <= D + 1 it is C - 1"


def text_of(page):
    return " ".join(page.text.split())


def void(content, count):
    """With the last `count` scored models without a place."""
    first = len(content.scored) - count
    models = [
        replace(m, void=WHY, tied=False, low=None, high=None)
        if first <= i < len(content.scored)
        else m
        for i, m in enumerate(content)
    ]
    return replace(content, models=tuple(models), metric="h_score")


def test_notes_come_after_the_ranking_and_many_are_folded(tmp_path):
    content = ranking(notes=tuple(f"note {i}" for i in range(9)))
    models = [replace(m, licence="Apache-2.0", note="ImageNet") for m in content.models]
    page = written(tmp_path, replace(content, models=tuple(models)))
    titles = [s.title for s in ranking_sections(replace(content, models=tuple(models)))]
    assert titles[:4] == ["Result", "Ranking", "Notes", "How to go on"]
    assert page.source.index("</table>") < page.source.index("note 0")
    assert "Licence: Apache-2.0. ImageNet" in text_of(page)
    assert "9 notes on the data and the run" in text_of(page)
    assert "open" not in {name for tag, name, _ in page.attributes if tag == "details"}
    few = written(tmp_path, ranking(notes=("one",)))
    assert ("details", "open", None) in few.attributes
    assert "1 note on the data" in text_of(few)


def test_models_without_a_place_have_a_dash_and_no_dot(tmp_path):
    page = written(tmp_path, void(ranking(6), 2))
    cells = [row[0] for row in page.rows if len(row) == 8][1:]
    assert cells == ["1", "2=", "3", "4", MISSING, MISSING]
    assert f"2 of 6 models have no place by h_score: {WHY}" in text_of(page)
    assert "4 best" not in text_of(page)


def test_no_order_at_all_has_no_winner(tmp_path):
    content = void(ranking(6), 6)
    page = written(tmp_path, content)
    assert "These scores are no order of the models." in text_of(page)
    assert "scores highest" not in text_of(page)
    titles = [s.title for s in ranking_sections(content)]
    assert titles == ["Result", "Ranking", "Time", "Failures", "What the score means"]


def test_equal_scores_share_their_place(tmp_path):
    scores = (0.5, 0.5, 0.25)
    rows = tuple(RankedModel(n, score=s) for n, s in zip("abc", scores, strict=True))
    page = written(tmp_path, Ranking(rows, "knn", "d", "classification", 9))
    assert [row[0] for row in page.rows if len(row) == 7][1:] == ["1", "1", "3"]
    assert "a and 1 other score highest alike: k-NN 0.5000" in text_of(page)


def test_a_column_without_votes_says_why(tmp_path):
    content = several(4)
    models = [
        replace(m, scores={**m.scores, "knn": replace(m.scores["knn"], void=WHY, tied=False)})
        if m.scores
        else m
        for m in content
    ]
    page = written(tmp_path, replace(content, models=tuple(models)))
    assert "No vote: 4 of 4 models have no place by knn: h_score says nothing" in text_of(page)
    start = next(i for i, row in enumerate(page.rows) if row[-3:] == ["LogME", "k-NN", "LEEP"])
    shown = [row[4] for row in page.rows[start + 1 : start + 5]]
    assert all(len(cell.split()) == 1 for cell in shown)  # a value, no place behind it


@pytest.mark.parametrize("suffix", ["yaml", "toml"])
def test_models_of_a_hub_file_are_had_through_it(tmp_path, suffix):
    file = tmp_path / f"zoo.{suffix}"
    file.write_text(
        "models:\n- model: timm:resnet18\n  preprocessing: {size: 64}\n- timm:resnet34\n"
        if suffix == "yaml"
        else '[[models]]\nmodel = "timm:resnet18"\npreprocessing = {size = 64}\n'
        '[[models]]\nmodel = "timm:resnet34"\n'
    )
    rows = [
        RankedModel(s.name, score=1.0 - i, spec=s.spec, hub_file=s.hub_file)
        for i, s in enumerate(as_hub(str(file)))
    ]
    found = Ranking(tuple(rows), "logme", "d", "classification", 9, location="photos")
    command = " ".join(tune_command(found))
    assert command == f"hubfast tune --hub {file} --data photos --method b-tuning --top 2"
    assert "Python object" not in text_of(written(tmp_path, found))
    named = replace(found, models=found.models[1:])
    assert "--hub timm:resnet34" in " ".join(tune_command(named))


def test_what_has_no_command_is_named(tmp_path):
    rows = (RankedModel("mine", score=1.0), RankedModel("b", score=0.5, spec="timm:b"))
    found = Ranking(rows, "logme", "d", "classification", 9, location="photos")
    assert "mine was a Python object or stored features" in text_of(written(tmp_path, found))
    known = Ranking(rows[1:], "logme", "d", "classification", 9)
    said = text_of(written(tmp_path, known))
    assert "the data were a Python object." in said
    assert isinstance(written(tmp_path, known), Page)
