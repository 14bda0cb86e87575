import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from hubfast.cli import main


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def hubfast(monkeypatch, capsys, tmp_path):
    """Runs the command in this process, in the temporary folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hubfast", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return Done(stopped.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def files(tmp_path):
    """Stored features of two models, and the targets."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 90)
    np.save(tmp_path / "targets.npy", targets)
    (tmp_path / "hub").mkdir()
    for name, signal in (("strong", 3.0), ("weak", 0.5)):
        features = rng.normal(size=(90, 8)) + signal * np.eye(8)[targets]
        np.save(tmp_path / "hub" / f"{name}.npy", features)
    return tmp_path


def test_rank_prints_and_writes(hubfast, files):
    done = hubfast(
        "rank",
        "hub",
        "nowhere.npy",
        "--data",
        "targets.npy",
        "--quiet",
        "--json",
        "r.json",
        "--csv",
        "r.csv",
        "--html",
        "r.html",
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"1.*strong.*\n.*2.*weak", done.stdout)
    assert "failed: nowhere: FileNotFoundError" in done.stdout
    written = json.loads((files / "r.json").read_text())
    assert [m["name"] for m in written["models"]] == ["strong", "weak", "nowhere"]
    assert pd.read_csv(files / "r.csv")["model"].tolist() == ["strong", "weak", "nowhere"]
    assert "strong" in (files / "r.html").read_text()


def test_rank_takes_options(hubfast, files):
    done = hubfast(
        "rank",
        "hub",
        "--data",
        "targets.npy",
        "--metric",
        "h_score",
        "--samples",
        "60",
        "--task",
        "classification",
        "--seed",
        "3",
        "--device",
        "cpu",
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    assert "h_score of 2 models on targets (60 samples)" in done.stdout


def test_rank_by_several_metrics(hubfast, files):
    metrics = ["--metric", "logme", "--metric", "knn", "--metric", "gbc"]
    done = hubfast("rank", "hub", "--data", "targets.npy", *metrics, "--quiet", "--json", "r.json")
    assert done.returncode == 0, done.stderr
    assert "consensus of 2 models on targets" in done.stdout
    written = json.loads((files / "r.json").read_text())
    assert list(written["models"][0]["scores"]) == ["logme", "knn", "gbc"]
    assert written["location"] == "targets.npy"


def test_bench_ranking_of_ones_own_records(hubfast, files):
    rows = ["model,data,accuracy", "strong,targets,0.9", "weak,targets,0.5", "third,targets,0.7"]
    (files / "truth.csv").write_text("\n".join(rows))
    np.save(files / "hub" / "third.npy", np.load(files / "hub" / "weak.npy") + 1)
    metrics = ["--metric", "logme", "--metric", "knn"]
    hubfast("rank", "hub", "--data", "targets.npy", *metrics, "--quiet", "--json", "r.json")
    outputs = ["--json", "e.json", "--csv", "e.csv", "--quiet"]
    options = ["--ranking", "r.json", "--prior", "logme", *outputs]
    done = hubfast("bench", "ranking", "truth.csv", *options)
    assert done.returncode == 0, done.stderr
    assert "3 models, means over 1 data sets" in done.stdout
    assert "regret @3" in done.stdout
    scores = {row["score"] for row in json.loads((files / "e.json").read_text())["scores"]}
    assert scores >= {"logme", "knn", "consensus"}
    assert set(pd.read_csv(files / "e.csv")["score"]) == scores
    bad = hubfast("bench", "ranking", "--ranking", "r.json")
    assert bad.returncode == 2
    assert "--ranking needs RECORDS" in bad.stderr


BAD = [
    (["hub", "--data", "none.npy"], "data not found: none.npy"),
    (["resnet50", "--data", "targets.npy"], "hub must hold timm:NAME"),
    (["hub", "--data", "targets.npy", "--metric", "magic"], "metric must be one of"),
    (["hub", "--data", "targets.npy", "--html", "no/r.html"], "no such folder: no"),
    (["hub", "--data", "targets.npy", "--task", "x"], "task must be one of"),
    (["hub"], "Missing option '--data'"),
    (["hub", "--data", "targets.npy", "--batch-size", "0"], "Invalid value for '--batch-size'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[b[1] for b in BAD])
def test_bad_input_is_one_line_and_exit_2(hubfast, files, arguments, message):
    done = hubfast("rank", *arguments, "--quiet")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_exit_1_where_no_model_has_a_score(hubfast, files):
    done = hubfast("rank", "none.npy", "--data", "targets.npy", "--quiet")
    assert done.returncode == 1
    assert "failed: none: FileNotFoundError" in done.stdout


def test_info_help_and_list(hubfast):
    info = hubfast("info")
    assert info.returncode == 0, info.stderr
    for fact in ("torch", "native core", "lapack", "cores"):
        assert fact in info.stdout
    for command in ("rank", "demo", "info", "minihub"):
        assert command in hubfast("--help").stdout
    assert "minihub:resnet_digits" in hubfast("minihub", "list").stdout


def test_the_installed_command():
    command = Path(sys.executable).with_name("hubfast")
    done = subprocess.run([command, "rank", "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Missing option" in done.stderr
