"""The registry holds every score, and all that lists scores agrees with it."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from every_score import OF_DATA, bounds, fitted, influence

import hubfast.scores
from hubfast.cli.names import score_names
from hubfast.scores import LEEP, NCE
from hubfast.scores.registry import HOMES, SCORES, names_of

ROOT = Path(hubfast.__file__).parents[1]
NEEDS = {
    "statistics": "features",
    "samples": "features",
    "logits": "source probabilities",
    "labels": "source labels",
    "prompts": "names of classes",
    "nothing": "nothing",
}


@pytest.mark.parametrize("name", SCORES)
def test_a_record_is_whole(name):
    score = SCORES[name]
    assert score.name == name
    assert score.title
    assert score.meaning.endswith(".")
    assert "arXiv:" in score.source
    assert (ROOT / "docs" / "scores" / f"{score.page or name}.md").exists()


def test_names():
    assert score_names() == tuple(SCORES) == tuple(HOMES) == names_of()
    assert names_of(needs=["logits", "labels"]) == ("leep", "nce")
    assert {"logme", "knn", "parameters"} <= {*names_of(task="regression")} < {*SCORES}
    assert "gbc" not in names_of(task="multilabel")


def test_the_names_come_without_torch():
    asked = "n.score_names(), n.method_names(), n.model_kinds()"
    code = f"import sys, hubfast.cli.names as n; {asked}; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_the_table_of_the_docs():
    text = (ROOT / "docs" / "scores" / "index.md").read_text()
    rows = re.findall(r"^\| \[`(\w+)`\]\((\w+)\.md\) \| (.*) \| (.*) \| (.*) \|$", text, re.M)
    assert [row[0] for row in rows] == list(SCORES)
    for name, page, needs, tasks, limits in rows:
        score = SCORES[name]
        assert page == (score.page or name)
        assert needs.startswith(NEEDS[score.needs]), name
        assert tasks == ("any" if len(score.tasks) == 3 else "classes"), name
        assert limits == score.range


@pytest.mark.parametrize("name", OF_DATA)
def test_a_fitted_score_has_one_shape(name):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = torch.from_numpy(rng.normal(size=(60, 8)) + rng.normal(size=(3, 8))[y])
    found, effect = fitted(name, x, y), influence(name, x, y)
    low, high = bounds(name, y)
    assert low <= found.score <= high
    assert effect.shape == (60,)
    assert effect.dtype == torch.float64
    rows = torch.tensor([3, 1, 7])
    asked = (x[rows], y[rows]) if SCORES[name].needs == "statistics" else (rows,)
    torch.testing.assert_close(found.influence(*asked), effect[rows])


def test_a_score_that_sees_nothing_is_moved_by_no_sample():
    found = SCORES["imagenet"].fit(parameters=None, imagenet=80.0)
    assert found.score == 80.0
    assert found.influence(torch.arange(3)).tolist() == [80.0] * 3


@pytest.mark.parametrize(("former", "now"), [("Leep", LEEP), ("Nce", NCE)])
def test_former_names_go_on_working(former, now):
    with pytest.warns(DeprecationWarning, match=f"hubfast.scores.{former} is now"):
        assert getattr(hubfast.scores, former) is now
