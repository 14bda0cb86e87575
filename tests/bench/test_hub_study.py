"""A hub of one's own against what heads and fine-tuning give: a tiny hub, small images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_texts
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from typer.testing import CliRunner

from hubfast import rank
from hubfast.bench.ranking import HubDesign, evaluate, hub_records, hub_rows, of_hub, table
from hubfast.bench.ranking.head import head_quality
from hubfast.cli import app
from hubfast.data import as_target_data
from hubfast.hub import as_source
from hubfast.tuning import Recipe, Trainer, tune
from tests.helpers.tiny import Small, coloured

DESIGN = HubDesign(train=24, test=30, draws=2, recipe=Recipe(epochs=2, batch_size=12, lr=1e-2))


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(table, "RESAMPLES", 20)


def small_hub():
    """Modules of three widths that take 8 x 8 images, and what their images become."""
    found = []
    for seed, width in enumerate((3, 6, 9)):
        torch.manual_seed(seed)
        found.append(as_source(Small(width), name=f"net{width}", transform=pixels))
    return found


def pixels(image):
    return torch.from_numpy(np.asarray(image, np.float32).copy()).permute(2, 0, 1) / 255


def two_sets():
    images, labels = coloured(60, classes=3)
    other, values = coloured(60, classes=2, seed=1)
    yield as_target_data((list(images), labels), name="colours")
    yield as_target_data((list(other), values + 0.5 * other.mean((1, 2, 3)) / 255), name="values")


def studied(path, truth="full", hub=None, data=None, **options):
    return hub_records(
        hub or small_hub(),
        list(two_sets()) if data is None else data,
        path,
        truth=truth,
        design=options.pop("design", DESIGN),
        progress=False,
        **options,
    )


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A study that is complete."""
    path = tmp_path_factory.mktemp("study") / "trials.jsonl"
    return path, studied(path)


def test_every_model_has_every_score_of_its_task_and_the_truth(known):
    path, found = known
    frame = found.frame
    assert list(zip(frame["data"], frame["model"], strict=True)) == [
        (data, f"net{width}") for data in ("colours", "values") for width in (3, 6, 9)
    ]
    assert frame["truth"].between(-1, 1).all()
    assert frame["parameters"].notna().all()
    assert frame["imagenet"].isna().all()
    assert frame.query("data == 'colours'")["leep"].notna().all()  # Small has a classifier
    assert frame.query("data == 'values'")["leep"].isna().all()
    assert frame["consensus"].between(0, 1).all()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert sum("full" in row for row in rows) == 2 * 3 * 2
    looked = [row for row in rows if "head" in row]
    assert len(looked) == 2 * 3
    assert {tuple(row["errors"]) for row in looked} == {("imagenet",)}
    assert "gains in tau" in str(evaluate(found, progress=False))


def test_scores_are_those_of_a_ranking_of_the_training_samples(known):
    frame = known[1].frame.query("data == 'colours'").set_index("model")
    pool = next(iter(two_sets())).sample(54)
    metrics = ["logme", "knn", "gbc", "nce", "parameters", "regularized_h_score"]
    rankings = []
    for draw in range(2):
        rows, _ = hub_rows.drawn(pool, DESIGN, draw)
        rankings.append(rank(small_hub(), pool.subset(rows), metrics=metrics, progress=False))
    for metric in metrics:
        for name in frame.index:
            rows = [next(m for m in ranking if m.name == name) for ranking in rankings]
            mean = np.mean([row.scores[metric].score for row in rows])
            assert frame.loc[name, metric] == pytest.approx(mean, rel=1e-5, abs=1e-6)


def test_full_truth_is_that_of_tune(known):
    path, _ = known
    pool, source = next(iter(two_sets())).sample(54), small_hub()[1]
    rows, new = hub_rows.drawn(pool, DESIGN, 1)
    trainer = Trainer(replace(DESIGN.recipe, seed=1), progress=False)
    tuned = tune(
        [source],
        pool.subset(rows),
        method="single",
        validation=0.0,
        test=pool.subset(new),
        trainer=trainer,
    )
    lines = map(json.loads, path.read_text().splitlines())
    (row,) = [r for r in lines if (r["data"], r["model"], r.get("draw")) == ("colours", "net6", 1)]
    assert row["full"] == pytest.approx(tuned.evaluations["test"].value, abs=2 / 30)


def test_nothing_that_is_known_is_done_again(known, monkeypatch):
    path, found = known
    before = path.read_text()

    def never(*args):
        raise AssertionError("done again")

    monkeypatch.setattr(of_hub, "looked_at", never)
    monkeypatch.setattr(of_hub, "fine_tuned", never)
    assert studied(path).frame.equals(found.frame)
    assert not studied(path, "head").frame["truth"].equals(found.frame["truth"])
    fewer = studied(path, design=replace(DESIGN, draws=1))
    assert not fewer.frame["logme"].equals(found.frame["logme"])
    assert path.read_text() == before
    with pytest.raises(RuntimeError, match="net3 failed on colours: done again"):
        studied(path, design=replace(DESIGN, draws=3))
    with pytest.raises(RuntimeError, match="net3 failed on colours: done again"):
        studied(path, design=replace(DESIGN, recipe=replace(DESIGN.recipe, lr=1e-3)))
    with pytest.raises(RuntimeError, match="net3 failed on colours: done again"):
        studied(path, "head", design=replace(DESIGN, train=23))


def test_a_killed_study_goes_on_to_the_same_end(known, tmp_path):
    path, found = known
    lines = path.read_text().splitlines(keepends=True)
    cut = tmp_path / "trials.jsonl"
    cut.write_text("".join(lines[:9]) + lines[9][:40])
    again = studied(cut)
    assert again.frame.drop(columns="truth").equals(found.frame.drop(columns="truth"))
    np.testing.assert_allclose(again.frame["truth"], found.frame["truth"], atol=1e-6)


def test_other_weights_or_samples_are_measured_anew(tmp_path):
    """Models with an identity are known by their weights, samples by their content."""
    path, design = tmp_path / "t.jsonl", replace(DESIGN, draws=1)
    hub = ["minihub:resnet_digits"]
    images, labels = coloured(60)
    counts = []
    for given in (labels, labels, np.roll(labels, 1)):
        studied(path, "head", hub, [(list(images), given)], design=design)
        counts.append(len(path.read_text().splitlines()))
    assert counts == [1, 1, 2]


def test_texts_and_their_models_are_studied_alike(tmp_path):
    hub = [tiny_texts.save(tmp_path), tiny_texts.save(tmp_path, seed=1)]
    found = studied(tmp_path / "t.jsonl", hub=hub, data=[tiny_texts.data(60)])
    assert found.frame["truth"].between(0, 1).all()
    assert found.frame["logme"].notna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truth": "half"}, r"truth must be one of \('head', 'full'\), got 'half'"),
        ({"data": []}, "data must be at least one set"),
        ({"data": [*two_sets()][:1] * 2}, r"each of another name, got \['colours', 'colours'\]"),
        ({"design": HubDesign(train=40, test=30)}, "must have 70 samples, .*'colours' has 60"),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        studied(tmp_path / "t.jsonl", **options)


def test_a_design_is_checked():
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        HubDesign(draws=0)


def test_labels_of_many_kinds_are_refused(tmp_path):
    images, _ = coloured(60)
    many = np.eye(3, dtype=np.int64)[np.arange(60) % 3] | np.eye(3, dtype=np.int64)[0]
    with pytest.raises(ValueError, match="classes or values, 'arrays' has several labels"):
        studied(tmp_path / "t.jsonl", data=[(list(images), many)])


@pytest.mark.parametrize("width", [4, 60])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_head_is_scikit_learns(width, task):
    """Of the best penalty, in any basis: also where there are fewer samples than features."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(70, width))
    y = x.mean(1) * width**0.5 + 0.3 * rng.normal(size=70)
    if task == "classification":
        y = np.digitize(y, [-0.5, 0.5])
    parts = [torch.from_numpy(part) for part in (x[:30], y[:30], x[30:], y[30:])]
    found = head_quality(*parts, task)
    mean, std = x[:30].mean(0), x[:30].std(0)
    known = []
    for c in (1e-4, 1e-2, 1, 1e2, 1e4):
        head = Ridge(1 / c)
        if task == "classification":
            head = LogisticRegression(C=c, max_iter=5000)
        head.fit((x[:30] - mean) / std, y[:30])
        known.append(head.score((x[30:] - mean) / std, y[30:]))
    tolerance = 1e-6 if task == "regression" else 1.01 / 40  # of two solvers, one image may differ
    assert min(abs(found - value) for value in known) <= tolerance
    assert found > 0.5 * max(known)


def test_heads_that_cannot_be():
    x, y = torch.randn(6, 3), torch.tensor([0, 0, 0, 1, 1, 2])
    with pytest.raises(ValueError, match="two training samples of each class"):
        head_quality(x, y, x, y, "classification")
    with pytest.raises(ValueError, match="classes or values for a linear head"):
        head_quality(x, y[:, None], x, y[:, None], "multilabel")


def test_constant_features_have_a_head():
    x, y = torch.ones(12, 3), torch.arange(12) % 2
    assert head_quality(x, y, x, y, "classification") == pytest.approx(0.5)


def write_hub(folder: Path) -> tuple[str, str]:
    images, labels = coloured(60)
    np.savez(folder / "colours.npz", images=images, targets=labels)
    models = "".join(f"- minihub:{name}\n" for name in ("resnet_digits", "slim_letters"))
    (folder / "hub.yaml").write_text(
        f"models:\n{models}- {{model: minihub:vit_textures, imagenet: 3}}\n"
    )
    return str(folder / "hub.yaml"), str(folder / "colours.npz")


def test_the_command(tmp_path):
    hub, data = write_hub(tmp_path)
    files = {name: str(tmp_path / name) for name in ("e.json", "e.csv", "t.jsonl")}
    command = ["bench", "ranking", "--hub", hub, "--data", data, "--seeds", "1", "--quiet"]
    command += ["--train", "24", "--test", "30", "--epochs", "1", "--results", files["t.jsonl"]]
    said = CliRunner().invoke(app, [*command, "--json", files["e.json"], "--csv", files["e.csv"]])
    assert said.exit_code == 0, said.output
    assert "3 models, means over 1 data sets" in said.output
    content = json.loads(Path(files["e.json"]).read_text())
    assert content["models"] == 3
    assert {row["prior"] for row in content["gains"]} == {"parameters"}
    rows = Path(files["t.jsonl"]).read_text().splitlines()
    assert len(rows) == 6
    again = CliRunner().invoke(app, [*command, "--truth", "head"])
    assert again.exit_code == 0, again.output
    assert Path(files["t.jsonl"]).read_text().splitlines() == rows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hub", "h.yaml"], "--hub needs --data"),
        (["--data", "d.npz"], "--data needs --hub"),
        (["--hub", "h.yaml", "--data", "d.npz", "--demo"], "of the mini-hub"),
        (["truth.csv", "--hub", "h.yaml", "--data", "d.npz"], "give RECORDS"),
        (["truth.csv", "--target", "handwritten"], "of the mini-hub"),
        (["--ranking", "truth.csv"], "--ranking needs RECORDS"),
    ],
)
def test_options_of_several_kinds_of_study(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    Path("truth.csv").write_text("model,data,accuracy,s\nx,d,1,1\n")
    said = CliRunner().invoke(app, ["bench", "ranking", *options])
    assert said.exit_code != 0
    assert isinstance(said.exception, ValueError)
    assert message in str(said.exception)
