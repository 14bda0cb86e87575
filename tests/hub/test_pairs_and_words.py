"""Features of pairs of texts and of words in sentences, and texts longer than a model takes."""

import warnings

import numpy as np
import pytest
import torch
import transformers
from sentence_models import sentence_folder
from text_models import FAMILIES, LENGTH, word_tokenizer

from hubfast import as_source, as_target_data, rank
from hubfast.data.block import Block
from hubfast.hub import Extraction
from hubfast.hub.transformers.encoding import TextEncoder, tokenizer_key

PAIRS = [
    *(("good film", "bad plot"), ("bad plot", "good film"), ("fine", "a very dull cast the plot")),
    *(("", "good"), ("good", ""), ("very " * 30, "bad " * 4), ("dull film", "dull film")),
]
SENTENCES = [
    *(
        ["good", "film", "unheard", "of"],
        ["bad"],
        ["good", "film", "unheard", "of"],
        ["the", "plot"],
    ),
    *(["a", "very", "very", "dull", "cast"], ["fine"] * 40),
]
TAGS = [[("X", "Y")[(i + len(s)) % 2] for i in range(len(s))] for s in SENTENCES]


def made(folder, family):
    torch.manual_seed(0)
    model = FAMILIES[family](folder).eval()
    model.save_pretrained(folder)
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def batch_of(folder, data, options="", **more):
    model = as_source(f"hf:{folder}{options}").load()
    batches = [*model.batches(data, Extraction(**more))]
    features = torch.cat([batch.features for batch in batches])
    return features, model.tally


def pairs_data(pairs=PAIRS):
    return as_target_data((pairs, np.arange(len(pairs)) % 2))


@pytest.mark.parametrize("family", ["bert", "roberta", "t5", "byt5", "canine", "xlnet", "llama"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_pair_is_tokenised_as_one(tmp_path, family, batch_size):
    model, tokenizer = made(tmp_path, family)
    pairs = [pair for pair in PAIRS if len(pair[0]) + len(pair[1]) > 5]
    found, tally = batch_of(tmp_path, pairs_data(pairs), batch_size=batch_size)
    length = 512 if model.config.model_type in ("t5", "xlnet") else LENGTH
    part = model.get_encoder() if model.config.is_encoder_decoder else model
    marks = tokenizer.num_special_tokens_to_add(pair=True) > tokenizer.num_special_tokens_to_add()
    wanted = []
    for first, second in pairs:
        second = second if marks else f"\n{second}"
        given = tokenizer(first, second, truncation=True, max_length=length, return_tensors="pt")
        given.pop("token_type_ids", None) if family != "bert" else None
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted.append(part(**given).last_hidden_state.mean(1)[0])
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found[0], found[1], atol=1e-3) or family == "byt5"
    cut = {f"texts cut at {LENGTH} tokens": 1}
    assert length == 512 or tally.items() >= cut.items()


@pytest.mark.parametrize("family", ["bert sentence", "clip"])
def test_a_model_that_embeds_texts_embeds_each_text_of_a_pair(tmp_path, family):
    if family == "clip":
        made(tmp_path, family)
    else:
        sentence_folder(tmp_path)
    pairs = [pair for pair in PAIRS if all(pair)]
    found, _ = batch_of(tmp_path, pairs_data(pairs))
    first, second = (
        batch_of(tmp_path, as_target_data(([p[side] for p in pairs], [0, 1] * 2 + [0])))[0]
        for side in (0, 1)
    )
    wanted = torch.cat([first, second, (first - second).abs()], 1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def by_hand_of_words(model, tokenizer, sentence, how):
    """Features of the words of one sentence whose words are one token each, but for bytes."""
    encoding = tokenizer(" ".join(sentence), return_tensors="pt", return_offsets_mapping=True)
    places = encoding.pop("offset_mapping")[0].tolist()
    encoding.pop("token_type_ids", None)
    hidden = model(**encoding).last_hidden_state[0]
    features, start = [], 0
    for word in sentence:
        own = [
            i for i, (a, b) in enumerate(places) if b > a and a < start + len(word) and b > start
        ]
        rows = hidden[own]
        features.append({"first": rows[0], "last": rows[-1], "mean": rows.mean(0)}[how])
        start += len(word) + 1
    return torch.stack(features)


def subword_tokenizer(folder):
    """A tokenizer that takes words apart, saved in `folder`; gives its vocabulary's size."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = ["<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"]
    pieces += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"] + ["##il", "##ery"]
    ids = {piece: i for i, piece in enumerate(pieces)}
    words = Tokenizer(models.WordPiece(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("<s>", 0), ("</s>", 2)]
    words.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", bos_token="<s>"
    )
    fast.save_pretrained(folder)
    return len(ids)


@pytest.fixture
def subwords(tmp_path):
    size = subword_tokenizer(tmp_path)
    config = transformers.BertConfig(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=0.5,
        max_position_embeddings=LENGTH,
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config).eval()
    model.save_pretrained(tmp_path)
    return tmp_path, model, transformers.AutoTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("how", ["first", "last", "mean"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_words_have_the_features_of_their_tokens(subwords, how, batch_size):
    folder, model, tokenizer = subwords
    data = as_target_data((SENTENCES[:5], TAGS[:5]))
    found, tally = batch_of(folder, data, f"?words={how}", batch_size=batch_size)
    with torch.inference_mode():
        wanted = [by_hand_of_words(model, tokenizer, s, how) for s in SENTENCES[:5]]
    torch.testing.assert_close(found, torch.cat(wanted), rtol=1e-4, atol=1e-5)
    assert torch.equal(found[:4], found[5:9])  # of two equal sentences
    assert tally == {}


def test_words_are_found_wherever_they_are(subwords):
    folder = subwords[0]
    data = as_target_data((SENTENCES[:5], TAGS[:5]))
    whole, _ = batch_of(folder, data)
    order = torch.tensor([7, 3, 12, 0, 5, 4])
    torch.testing.assert_close(batch_of(folder, data.subset(order))[0], whole[order])
    torch.testing.assert_close(batch_of(folder, Block(data))[0], whole)


def test_long_sentences_are_read_in_parts_of_whole_words(subwords):
    folder, model, tokenizer = subwords
    sentence = ["very", "good", "film"] * 9
    data = as_target_data(([sentence, ["a"]], [["X", "Y", "Y"] * 9, ["X"]]))
    found, tally = batch_of(folder, data)
    assert found.shape == (28, 16)
    (said,) = tally
    assert said == f"words are of sentences of more than {LENGTH} tokens, read in parts"
    assert tally[said] == 27
    parts = [sentence]
    while any(len(tokenizer(" ".join(p))["input_ids"]) > LENGTH for p in parts):
        parts = [half for p in parts for half in (p[: len(p) // 2], p[len(p) // 2 :])]
    with torch.inference_mode():
        wanted = torch.cat([by_hand_of_words(model, tokenizer, p, "first") for p in parts])
    torch.testing.assert_close(found[:27], wanted, rtol=1e-4, atol=1e-5)


def test_a_word_longer_than_a_model_takes_is_cut(subwords):
    folder, model, tokenizer = subwords
    data = as_target_data(([["a" * 60, "b"], ["c"]], [["X", "Y"], ["X"]]))
    cut = tokenizer("a" * 60, truncation=True, max_length=LENGTH, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(cut["input_ids"]).last_hidden_state[0, 1:-1]
    wanted = {"first": hidden[0], "last": hidden[-1], "mean": hidden.mean(0)}
    for how, features in wanted.items():
        for options in ("", "&prompt_text=good+"):
            found, _ = batch_of(folder, data, f"?words={how}{options}")
            torch.testing.assert_close(found[0], features, rtol=1e-4, atol=1e-5)


def test_one_tokenisation_of_words_serves_all_models_of_a_tokenizer(subwords, monkeypatch):
    folder = subwords[0]
    block = Block(as_target_data((SENTENCES, TAGS)))
    block.read()
    whole, _ = batch_of(folder, block)
    monkeypatch.setattr(
        "hubfast.hub.transformers.word_tokens._spans", None
    )  # of the long one: parts
    short = Block(as_target_data((SENTENCES[:5], TAGS[:5])))
    short._shared = {key: rows[:4] for key, rows in block._shared.items()}
    again, _ = batch_of(folder, short)
    assert torch.equal(whole[: len(again)], again)


def test_a_word_without_a_token_has_one_that_stands_for_it(subwords):
    data = as_target_data(([["good", "", "film"], ["a", "\u200b"]], [["X", "Y", "X"], ["X", "Y"]]))
    found, tally = batch_of(subwords[0], data)
    assert found.isfinite().all()
    assert tally["words have no token; one stands for them"] >= 1
    spelled = as_target_data(([["good", "<unk>", "film"]], [["X", "Y", "X"]]))
    torch.testing.assert_close(batch_of(subwords[0], spelled)[0], found[:3])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_reads_words(tmp_path, family):
    made(tmp_path, family)
    data = as_target_data((SENTENCES, TAGS))
    found, _ = batch_of(tmp_path, data, batch_size=1)
    together, _ = batch_of(tmp_path, data, batch_size=8)
    assert found.shape[0] == len(data)
    assert found.isfinite().all()
    torch.testing.assert_close(found, together, rtol=1e-4, atol=1e-4)
    assert found.std(0).mean() > 0.01


@pytest.mark.parametrize("family", ["bert", "byt5", "gpt2", "bert classifier"])
def test_windows_are_averaged_by_their_tokens(tmp_path, family):
    model, tokenizer = made(tmp_path, family)
    long = " ".join(["very", "good", "film", "bad"] * 10) * (20 if family == "byt5" else 1)
    texts = ["good film", long, "bad"]
    data = as_target_data((texts, [0, 1, 0]))
    found, tally = batch_of(tmp_path, data, "?long_texts=windows")
    length = 512 if family == "byt5" else LENGTH
    assert tally == {f"texts read in windows of {length} tokens": 1}
    body = tokenizer(long, add_special_tokens=False)["input_ids"]
    whole = tokenizer("bad")["input_ids"]
    alone = tokenizer("bad", add_special_tokens=False)["input_ids"]
    start = next(i for i in range(9) if whole[i : i + len(alone)] == alone)
    before, behind = whole[:start], whole[start + len(alone) :]
    size = length - len(before) - len(behind)
    part = getattr(model, "bert", model)
    part = part.get_encoder() if part.config.is_encoder_decoder else part
    sums, tokens = 0, 0
    with torch.inference_mode():
        for at in range(0, len(body), size):
            ids = torch.tensor([[*before, *body[at : at + size], *behind]])
            out = part(ids)
            pooled = out.pooler_output if "classifier" in family else out.last_hidden_state.mean(1)
            sums, tokens = sums + pooled[0] * ids.shape[1], tokens + ids.shape[1]
    torch.testing.assert_close(found[1], sums / tokens, rtol=1e-4, atol=1e-4)
    cut, _ = batch_of(tmp_path, data)
    torch.testing.assert_close(found[::2], cut[::2])
    assert not torch.allclose(found[1], cut[1], atol=1e-3)


def test_one_tokenisation_serves_all_models_of_a_tokenizer(tmp_path, monkeypatch):
    for name in "abc":
        torch.manual_seed(ord(name))
        FAMILIES["bert"](tmp_path / name).save_pretrained(tmp_path / name)
    torch.manual_seed(0)
    word_tokenizer(tmp_path / "d", post="<s> $A </s> </s>", pad_token="<pad>")
    FAMILIES["bert"](tmp_path / "x").save_pretrained(tmp_path / "d")
    calls = []
    cut = TextEncoder.cut

    def counted(self, texts, longest):
        calls.append(len(texts))
        return cut(self, texts, longest)

    monkeypatch.setattr(TextEncoder, "cut", counted)
    texts = ["good film", "bad plot", "a dull cast", "fine"] * 75
    hub = [f"hf:{tmp_path / name}" for name in "abcd"]
    ranking = rank(hub, (texts, [0, 1, 1, 0] * 75), progress=False, cache=False)
    assert [model.error for model in ranking.models] == [None] * 4
    assert sorted(calls) == sorted([128, 128, 44] * 2)  # of two tokenizers, block by block


def test_a_model_that_takes_fewer_tokens_shares_them_and_cuts_its_own(tmp_path):
    made(tmp_path / "long", "t5")
    texts = ["good film", "very " * 40, "bad"]
    data = as_target_data((texts, [0, 1, 0]))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "long")
    tokenizer.model_max_length = 9
    made(tmp_path / "short", "t5")
    tokenizer.save_pretrained(tmp_path / "short")
    block = Block(data)
    block.read()
    for folder, length in (("long", 512), ("short", 9)):
        found, tally = batch_of(tmp_path / folder, block)
        wanted, _ = batch_of(tmp_path / folder, data)
        torch.testing.assert_close(found, wanted)
        assert tally == ({f"texts cut at {length} tokens": 1} if length == 9 else {})
    assert len(block._shared) == 1
    assert block.held_bytes > block.decoded_bytes
    block.drop()
    assert block.held_bytes == 0


def test_tokenizers_are_told_apart(tmp_path):
    keys = set()
    for number, post in enumerate(["<s> $A", "<s> $A </s>", "$A </s>"]):
        word_tokenizer(tmp_path / str(number), post=post, pad_token="<pad>")
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / str(number))
        key = tokenizer_key(tokenizer)
        tokenizer("good film", truncation=True, max_length=3)
        assert tokenizer_key(tokenizer) == key
        keys.add(key)
    assert len(keys) == 3
    assert tokenizer_key(transformers.ByT5Tokenizer()) is None
