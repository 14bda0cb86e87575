"""tune() on texts: all methods for them, others refused; saved, ranked again, resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tiny_texts
import torch
import transformers
from typer.testing import CliRunner

from hubfast import rank
from hubfast.cli import app
from hubfast.data import as_target_data
from hubfast.data.texts import TextPair
from hubfast.hub import Extraction, as_hub
from hubfast.report import write_tuning
from hubfast.scores.logme.logme import LogME
from hubfast.tuning import Method, TargetEncoder, TuningContext, tune
from hubfast.tuning.methods.registry import METHODS, build
from hubfast.tuning.texts import TextBatch, TextDataset
from hubfast.utils import files

FOR_TEXTS = [name for name in get_args(Method) if METHODS[name].texts]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A decoder and an encoder, whose tokenizers differ."""
    folder = tmp_path_factory.mktemp("hub")
    return [tiny_texts.save(folder, family) for family in ("gpt2", "bert")]


@pytest.fixture(scope="module")
def ranking(hub):
    return rank(hub, tiny_texts.data(), progress=False)


def outputs(folder, texts):
    """What the code of the card gives."""
    card = (folder / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0].replace("FOLDER", str(folder))
    names = {}
    exec(code, names)
    return names.get("all_outputs", names["outputs"])(texts)


def test_the_methods_for_texts():
    wanted = {"single", "l2-sp", "b-tuning", "distill", "ensemble", "lora", "kd", "bss"}
    assert set(FOR_TEXTS) == wanted


@pytest.mark.parametrize("method", FOR_TEXTS)
def test_every_method_for_texts(hub, ranking, tmp_path, method):
    pytest.importorskip("peft") if method == "lora" else None
    texts = tiny_texts.data()
    tuned = tune(
        hub, texts, method=method, top=2, ranking=ranking, trainer=tiny_texts.trainer(),
        test=tiny_texts.data(12, seed=1),
    )  # fmt: skip
    assert set(tuned.evaluations) == {"validation", "test"}
    assert all(np.isfinite(tuned.history.terms["task" if method != "ensemble" else "member_1"]))
    assert (tuned.size, tuned.framing) == (None, None)
    folder = tmp_path / "model"
    tuned.save(folder)
    write_tuning(tmp_path / "report.html", tuned)
    assert "per text" in (tmp_path / "report.html").read_text()
    some = [texts[k] for k in range(9)]
    with torch.inference_mode():
        wanted = tuned.module(TextBatch(some))
    torch.testing.assert_close(outputs(folder, some), wanted, rtol=1e-4, atol=1e-5)
    if method == "ensemble":
        return
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    assert loaded.config.id2label == {0: "no", 1: "yes"}
    again = rank([f"hf:{folder}"], texts, metric="leep", progress=False)
    assert not again.failed


def test_training_on_texts_learns(hub, ranking):
    tuned = tune(
        hub, tiny_texts.data(80), method="single", ranking=ranking,
        trainer=tiny_texts.trainer(25),
    )  # fmt: skip
    assert tuned.evaluations["validation"].value > 0.9
    assert tuned.history.terms["task"][-1] < 0.6 * tuned.history.terms["task"][0]


@pytest.mark.parametrize("method", ["single", "b-tuning", "distill", "ensemble"])
@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_other_targets(hub, ranking, tmp_path, task, method):
    texts, labels = tiny_texts.texts()
    lengths = np.array([len(text.split()) for text in texts])
    targets = lengths * 100.0 if task == "regression" else np.stack([labels, lengths > 4], 1)
    data = as_target_data((texts, targets.astype(float if task == "regression" else int)))
    tuned = tune(hub, data, method=method, top=2, ranking=ranking, trainer=tiny_texts.trainer())
    tuned.save(tmp_path)
    with torch.inference_mode():
        wanted = tuned.module(TextBatch(texts[:5]))
    found = outputs(tmp_path, texts[:5])
    torch.testing.assert_close(
        found, wanted, rtol=1e-3, atol=1e-2 if task == "regression" else 1e-4
    )


@pytest.mark.parametrize("method", sorted(set(get_args(Method)) - set(FOR_TEXTS)))
def test_other_methods_are_refused_by_name_before_any_work(method):
    nowhere = ["hf:/no/such/model", "hf:/no/other/model"]
    with pytest.raises(ValueError, match=rf"^{method} needs images; .* gives texts; methods that"):
        tune(nowhere, tiny_texts.data(), method=method, top=2, trainer=tiny_texts.trainer())


@pytest.mark.parametrize(("option", "value"), [("augment", "crop"), ("size", (8, 8))])
def test_options_for_images_are_refused(hub, ranking, option, value):
    with pytest.raises(ValueError, match=f"{option} is for images, the data 'words' gives texts"):
        tune(hub, tiny_texts.data(), method="single", ranking=ranking, **{option: value})


@pytest.mark.parametrize("method", ["single", "ensemble"])
def test_pairs_of_texts(hub, tmp_path, method):
    firsts, labels = tiny_texts.texts(24)
    seconds = tiny_texts.texts(24, seed=1)[0]
    pairs = [TextPair(*pair) for pair in zip(firsts, seconds, strict=True)]
    names = [["no", "yes"][label] for label in labels]
    tuned = tune(
        hub, (pairs, names), method=method, top=2, trainer=tiny_texts.trainer()
    )  # fmt: skip
    tuned.save(tmp_path)
    with torch.inference_mode():
        wanted = tuned.module(TextBatch(pairs[:5]))
        swapped = tuned.module(TextBatch([TextPair(b, a) for a, b in pairs[:5]]))
    torch.testing.assert_close(outputs(tmp_path, pairs[:5]), wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(swapped, wanted)


def test_options_of_reading_texts_are_named_where_they_are_not_followed(hub, tmp_path):
    spec = f"{hub[1]}?prompt_text=good"
    tuned = tune([spec], tiny_texts.data(), method="lora", top=1, trainer=tiny_texts.trainer(1))
    assert any("prompt_text=good is for ranking" in note for note in tuned.notes)
    tuned.save(tmp_path)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == hub[1].removeprefix("hf:")


def test_words_are_refused():
    words = as_target_data(([["a", "good", "film"], ["bad"]], [["O", "X", "O"], ["X"]]))
    with pytest.raises(ValueError, match=r"data must hold images or texts .* gives words"):
        tune(["hf:/no/such/model"], words, method="single", trainer=tiny_texts.trainer())


def test_the_usual_learning_rate_is_that_of_the_samples(hub, ranking):
    pytest.importorskip("peft")
    from hubfast.tuning import Recipe, Trainer

    trainer = Trainer(Recipe(epochs=1), accelerator="cpu", progress=False)
    for method, lr in (("single", 5e-5), ("lora", 5e-4)):
        tuned = tune(hub, tiny_texts.data(), method=method, ranking=ranking, trainer=trainer)
        assert tuned.recipe.lr == lr


def test_teachers_read_the_texts_by_their_own_tokenizers(hub):
    """What the ranking sees of each model is what a teacher says."""
    data = tiny_texts.data(10)
    labels = TargetEncoder.of(data)
    context = TuningContext(as_hub(hub), TextDataset(data, labels), labels, steps=1)
    for k, source in enumerate(context.sources):
        wanted = torch.cat([b.features for b in source.load().batches(data, Extraction())])
        torch.testing.assert_close(context.features_and_logme(k)[0], wanted)
    values = context.teachers()(context.example, torch.tensor([3, 7]))
    assert [tuple(value.shape) for value in values] == [(2, 16), (2, 16)]


def test_the_means_of_the_student_are_of_its_own_features(hub):
    data = tiny_texts.data(24)
    labels = TargetEncoder.of(data)
    context = TuningContext(as_hub(hub[1:]), TextDataset(data, labels), labels, steps=1)
    method = build("b-tuning", context, fit=lambda module: None)
    with torch.no_grad():
        features = method.model.eval().features(context.samples.batch(range(24)))
    means = method.terms["b_tuning"].means
    assert means.shape == (2, features.shape[1])
    torch.testing.assert_close(means, LogME.fit(features, data.targets).means.float())


COMMAND = ["--method", "single", "--epochs", "12", "--batch-size", "8", "--lr", "1e-3"]
COMMAND += ["--device", "cpu", "--quiet", "--test"]


def test_the_command_tunes_the_best_of_a_ranking_and_resumes_after_kill_9(hub, tmp_path):
    texts, labels = tiny_texts.texts(60)
    table = tmp_path / "texts.csv"
    rows = [f"{text},{['no', 'yes'][label]}" for text, label in zip(texts, labels, strict=True)]
    table.write_text("\n".join(["text,label", *rows]) + "\n")
    ranked = tmp_path / "ranking.json"
    runner = CliRunner()
    ranking = ["rank", "--data", str(table), "--json", str(ranked), "--device", "cpu", "--quiet"]
    done = runner.invoke(app, [*ranking, *hub])
    assert done.exit_code == 0, done.output

    def command(output):
        return ["tune", str(ranked), *COMMAND, str(table), "--output", str(tmp_path / output)]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [sys.executable, "-m", "hubfast", *command("killed")]
    process = subprocess.Popen(started, env=environment, stderr=subprocess.PIPE)
    file, deadline = tmp_path / "killed" / "checkpoint.pt", time.monotonic() + 120
    while not file.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 0 < files.load(file)["step"] < 72
    whole = runner.invoke(app, command("whole"))
    assert whole.exit_code == 0, whole.output
    resumed = runner.invoke(app, [*command("killed"), "--resume"])
    assert resumed.exit_code == 0, resumed.output
    found, wanted = (files.load(tmp_path / name / "checkpoint.pt") for name in ("killed", "whole"))
    assert found["step"] == wanted["step"] == 72
    for name, value in wanted["method"].items():
        assert torch.equal(found["method"][name], value), name
    results = json.loads((tmp_path / "killed" / "result.json").read_text())
    assert results["models"] == json.loads(ranked.read_text())["models"][0]["name"].split("\n")
    assert (tmp_path / "killed" / "model" / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "x.csv"], "--hub must be given"),
        (["--hub", "minihub"], "--data must be given"),
    ],
)
def test_what_a_command_lacks_is_said(arguments, said):
    done = CliRunner().invoke(app, ["tune", *arguments])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_two_rankings_are_refused(tmp_path):
    file = Path(tmp_path / "a.json")
    file.write_text("{}")
    done = CliRunner().invoke(app, ["tune", str(file), "--ranking", str(file)])
    assert done.exit_code == 2
    assert "two rankings" in done.output
