"""Features of texts: those of each text alone, whatever it is run with, and in whatever number."""

import warnings

import numpy as np
import pytest
import torch
import transformers
from text_models import FAMILIES, LENGTH, both_ends

from hubfast import as_source, as_target_data, rank
from hubfast.hub import Extraction
from hubfast.hub.transformers.text import text_network

# Empty, blank, one token, more than any of the models takes, and the models' own tokens inside.
TEXTS = [
    *("good film", "", "a very very dull film", "fine", "bad plot the cast", "   "),
    *("the <eos> film", "good </s> film </s>", "a <pad> bad", "film <eos>", "dull", "unheard of"),
    *(" ".join(["very", "good", "film"] * LENGTH), " ".join(["bad"] * (LENGTH - 1))),
]
UNBOUNDED = ("t5", "xlnet", "mamba")


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    """A family's name, its model and the folder where that is saved."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    made = FAMILIES[request.param](folder).eval()
    made.save_pretrained(folder)
    return request.param, made, folder


def features(folder, texts, batch_size):
    data = as_target_data((texts, np.arange(len(texts)) % 2))
    batches = as_source(f"hf:{folder}").load().batches(data, Extraction(batch_size=batch_size))
    return torch.cat([batch.features for batch in batches])


def test_features_do_not_depend_on_the_batch(model):
    _, _, folder = model
    alone = features(folder, TEXTS, 1)
    assert alone.dtype == torch.float32
    assert alone.isfinite().all()
    assert alone.std(0).mean() > 0.01
    for size in (2, len(TEXTS)):
        torch.testing.assert_close(features(folder, TEXTS, size), alone, rtol=1e-4, atol=1e-4)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = features(folder, [TEXTS[i] for i in order], 5)
    torch.testing.assert_close(shuffled, alone[order], rtol=1e-4, atol=1e-4)


def by_hand(name, model, tokenizer, text):
    """What one who uses transformers gets for one text: features, or logits of a classifier."""
    fixed = {"padding": "max_length"} if name == "siglip" else {}
    length = 512 if model.config.model_type in UNBOUNDED else LENGTH
    given = tokenizer(text, truncation=True, max_length=length, return_tensors="pt", **fixed)
    given.pop("token_type_ids", None)
    model.config.use_cache = False
    if name in ("clip", "siglip"):
        return model.get_text_features(given["input_ids"]).pooler_output
    if "classifier" in name:
        return model(**given).logits
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    out = model(**given)
    return out.pooler_output if name == "dpr" else out.last_hidden_state.mean(1)


def test_features_are_those_of_one_text_alone(model):
    name, module, folder = model
    fewest = (
        3 if name in ("canine", "funnel") else 1
    )  # words of a text that needs no padding of its own
    texts = [text for text in TEXTS if len(text.split()) >= fewest]
    data = as_target_data((texts, np.arange(len(texts)) % 2))
    batches = as_source(f"hf:{folder}").load().batches(data, Extraction(batch_size=4))
    batches = [*batches]
    found = torch.cat([batch.features for batch in batches])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ByT5's tokenizer
        wanted = torch.cat([by_hand(name, module, tokenizer, text) for text in texts])
        if "classifier" in name:
            classes = module.config.num_labels
            linear = [m for m in module.modules() if isinstance(m, torch.nn.Linear)]
            head = [m for m in linear if m.out_features == classes][-1]
            torch.testing.assert_close(head(found), wanted, rtol=1e-4, atol=1e-4)
            found = torch.cat([batch.logits for batch in batches])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "gpt2 classifier without padding"])
def test_an_empty_text_is_the_token_that_texts_end_with(tmp_path, family):
    model = FAMILIES[family](tmp_path).eval()
    model.save_pretrained(tmp_path)
    empty, spelled = features(tmp_path, ["", "<eos>"], 2)
    torch.testing.assert_close(empty, spelled)
    assert features(tmp_path, ["", " "], 2).shape == features(tmp_path, ["bad", "good"], 2).shape


def test_an_empty_text_without_any_special_token_is_named(tmp_path):
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"good": 0, "bad": 1}, unk_token="good"))
    hf = transformers.PreTrainedTokenizerFast(tokenizer_object=words)
    hf.save_pretrained(tmp_path)
    FAMILIES["gpt2 without special tokens"](tmp_path / "model").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"text 3 is empty, and the tokenizer of .* no special"):
        features(tmp_path, ["good", "bad", "good", ""], 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["bert", "gpt2 classifier", "clip"])
def test_half_precision_gives_float32(tmp_path, family, dtype):
    model = FAMILIES[family](tmp_path).eval()
    model.save_pretrained(tmp_path)
    wanted = features(tmp_path, TEXTS, 3)
    model.to(dtype).save_pretrained(tmp_path)
    found = features(tmp_path, TEXTS, 3)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0.1, atol=0.1 * float(wanted.abs().max()))


def test_equal_outputs_leave_the_choice_of_the_token_to_the_model(tmp_path):
    """A layer of scores that is all zeros gives every token the same scores."""
    model = FAMILIES["gpt2 classifier"](tmp_path).eval()
    model.score.weight.data.zero_()
    model.save_pretrained(tmp_path)
    found = features(tmp_path, ["good film", "bad plot", "fine <eos>"], 3)
    with torch.inference_mode():
        for ids, row, last in (([2, 3], 0, 1), ([4, 10], 1, 1), ([9, 0], 2, 0)):
            hidden = model.transformer(torch.tensor([ids])).last_hidden_state[0, last]
            torch.testing.assert_close(found[row], hidden, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression"])
def test_outputs_that_are_no_classes_are_no_source_probabilities(tmp_path, kind):
    model = FAMILIES["bert classifier"](tmp_path)
    model.config.problem_type = kind
    model.save_pretrained(tmp_path)
    data = as_target_data((TEXTS, np.arange(len(TEXTS)) % 2))
    options = Extraction(logits=True)
    assert next(as_source(f"hf:{tmp_path}").load().batches(data, options)).logits is None


def test_text_is_asked_for(tmp_path):
    FAMILIES["bert"](tmp_path).save_pretrained(tmp_path)
    data = as_target_data((["good", 3, "bad"], [0, 1, 0]))
    with pytest.raises(ValueError, match=r"sample 1: samples must be images or texts, got .* 3"):
        [*as_source(f"hf:{tmp_path}").load().batches(data, Extraction())]


@pytest.mark.parametrize(
    ("family", "notes"),
    [
        (
            "gpt2",
            "1 of 14 texts cut at 24 tokens; 2 of 14 texts have no token; one stands for them",
        ),
        ("roberta", "2 of 14 texts cut at 24 tokens"),
        ("t5", ""),
    ],
)
def test_texts_that_are_cut_or_empty_are_counted(tmp_path, family, notes):
    FAMILIES[family](tmp_path).save_pretrained(tmp_path)
    data = (TEXTS, np.arange(len(TEXTS)) % 2)
    ranking = rank([f"hf:{tmp_path}"], data, batch_size=4, progress=False)
    assert ranking.models[0].error is None
    assert ranking.models[0].note == notes


def test_the_length_is_what_tokenizer_and_positions_hold(tmp_path):
    """RoBERTa's first position lies behind that of the padding, in row 2 of its table."""
    model = FAMILIES["roberta"](tmp_path)
    long = " ".join(["very", "good", "film"] * LENGTH)
    for known, length in ((int(1e30), LENGTH), (9, 9)):
        both_ends(tmp_path, model_max_length=known)
        model.save_pretrained(tmp_path)
        network = text_network(str(tmp_path), model, trust=False)
        assert network.tokens.longest == length
        assert len(network.tokens.of([long])[0]["input_ids"]) == length
