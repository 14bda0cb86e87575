"""A classifier of texts with a new head: what is saved gives the same logits, in all families."""

import numpy as np
import pytest
import tiny_texts
import torch
import transformers

from hubfast.data import as_target_data
from hubfast.hub import as_source
from hubfast.tuning import TargetEncoder
from hubfast.tuning.plain_files import save_plain
from hubfast.tuning.recipe import Recipe
from hubfast.tuning.text_model import text_model
from hubfast.tuning.texts import TextBatch

TEXTS = [
    *("good film", "a very very dull film", "fine", "bad plot the cast", "unheard of"),
    " ".join(["very", "good", "film"] * 24),
]
# Encoders with and without a pooler, decoders on both sides of padding, with and without a token
# for it, an encoder-decoder, and those in which padding changes what is made of a text.
FAMILIES = [
    *("bert", "xlm-roberta classifier", "electra", "modernbert", "bart", "t5", "xlnet", "gpt2"),
    *("gpt2 classifier without padding", "llama", "canine", "convbert"),
]
FULL = ("canine", "convbert")
TARGETS = {
    "classification": np.array([0, 1, 2, 0, 1, 2]),
    "multilabel": np.eye(6, 2, dtype=int) + np.eye(6, 2, -3, dtype=int),
    "regression": np.linspace(90, 110, 6),
}


def made(folder, family, task="classification"):
    labels = TargetEncoder.of(as_target_data((TEXTS, TARGETS[task]), task=task))
    source = as_source(tiny_texts.save(folder, family))
    torch.manual_seed(0)
    return text_model(source, labels, TextBatch(TEXTS)).eval()


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_saved_gives_the_same_logits(tmp_path, family, task):
    model, out = made(tmp_path, family, task), tmp_path / "out"
    with torch.no_grad():
        model.head.weight.normal_()
    save_plain(out, model.export().save_pretrained, model.tokenizer.save_pretrained)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    auto = transformers.AutoModelForSequenceClassification
    loaded, info = auto.from_pretrained(out, output_loading_info=True)
    assert not any(info.values())
    padding = "max_length" if model.full else True
    inputs = tokenizer(TEXTS, truncation=True, padding=padding, return_tensors="pt")
    with torch.inference_mode():
        wanted = model(TextBatch(TEXTS))
        alone = torch.cat([model(TextBatch([text])) for text in TEXTS])
        torch.testing.assert_close(loaded.eval()(**inputs).logits, wanted, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(alone, wanted, rtol=1e-4, atol=1e-4)
    assert model.full == (family in FULL)
    assert (
        loaded.config.problem_type
        == {
            "classification": "single_label_classification",
            "multilabel": "multi_label_classification",
            "regression": "regression",
        }[task]
    )
    assert len(loaded.config.id2label) == wanted.shape[1]


@pytest.mark.parametrize("family", ["bert", "gpt2"])  # a head with a bias, and one without
def test_a_regression_starts_at_the_mean_of_the_targets(tmp_path, family):
    model = made(tmp_path, family, "regression")
    with torch.no_grad():
        start = model(TextBatch(TEXTS)).mean()
    near = 1e-3 if family == "gpt2" else 40  # where the mean is in the bias, weights are random
    assert float(start) == pytest.approx(100, abs=near)
    assert (model.head.bias is None) == (family == "gpt2")


@pytest.mark.parametrize(("family", "fresh"), [("bert", 0), ("electra", 2), ("gpt2", 0)])
def test_layers_that_the_checkpoint_lacks_are_new(tmp_path, family, fresh):
    model = made(tmp_path, family)
    head = len(list(model.head.parameters()))
    assert len(model.new_parameters()) == head + fresh
    assert len(model.pretrained_parameters()) == len(list(model.model.parameters())) - fresh
    rates = Recipe(lr=0.1, head_factor=10).build(model, 3)[0].param_groups
    assert [len(group["params"]) for group in rates][1] == head + fresh


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("fnet", "takes no attention mask"),
        ("m2m-100", "cannot be tuned: transformers has no ForSequenceClassification"),
        ("t5 encoder", "lacks weights: .*decoder"),
    ],
)
def test_what_cannot_be_tuned_is_named(tmp_path, family, said):
    with pytest.raises((TypeError, RuntimeError), match=said):
        made(tmp_path, family)


def test_a_checkpoint_in_half_precision_is_trained_in_full(tmp_path):
    spec = tiny_texts.save(tmp_path, "bert")
    folder = spec.removeprefix("hf:")
    transformers.AutoModel.from_pretrained(folder).bfloat16().save_pretrained(folder)
    labels = TargetEncoder.of(as_target_data((TEXTS, TARGETS["classification"])))
    model = text_model(as_source(spec), labels, TextBatch(TEXTS))
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_texts_that_were_cut_and_empty_ones_are_counted(tmp_path):
    model = made(tmp_path, "bert")
    assert model.tally == {"texts cut at 24 tokens": 1}
    with torch.no_grad():
        assert model(TextBatch(["", "good"])).isfinite().all()
